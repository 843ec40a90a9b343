#pragma once
// What one lane does for one symbol (docs/format.md §4.2), for code on any processor: constexpr functions.
// The caller moves the words. `range` is an entry of ByteEncodeTables::ranges(), frequency and start of a
// symbol, `reciprocal` the one beside it.

#include <cstdint>

namespace pinion::codec {

inline constexpr int kLaneProbabilityBits = 12;

// Whether the low word of the state goes out before the symbol.
constexpr bool lane_is_full(std::uint32_t x, std::uint32_t range) {
  return (x >> (32 - kLaneProbabilityBits)) >= (range & 0xffff);
}

// With m = floor(2^32 / f), (x m) >> 32 is the quotient or one less, since x (2^32 / f - m) / 2^32 < 1; the
// remainder tells which.
constexpr std::uint32_t lane_with_symbol(std::uint32_t x, std::uint32_t reciprocal, std::uint32_t range) {
  const std::uint32_t f = range & 0xffff;
  auto quotient = static_cast<std::uint32_t>((std::uint64_t{x} * reciprocal) >> 32);
  std::uint32_t rest = x - quotient * f;
  const bool more = rest >= f;
  rest -= more ? f : 0;
  quotient += more;
  return (quotient << kLaneProbabilityBits) + rest + (range >> 16);
}

constexpr std::uint32_t lane_reciprocal(std::uint32_t frequency) {
  if (frequency == 0) return 0;
  return frequency == 1 ? 0xffffffff : static_cast<std::uint32_t>((std::uint64_t{1} << 32) / frequency);
}

// Where in a table the next symbol is looked up.
constexpr std::uint32_t lane_slot(std::uint32_t x) { return x & ((1u << kLaneProbabilityBits) - 1); }

// The state behind that symbol, which takes a word if it is below 2^16.
constexpr std::uint32_t lane_without_symbol(std::uint32_t x, std::uint32_t range) {
  return (range & 0xffff) * (x >> kLaneProbabilityBits) + lane_slot(x) - (range >> 16);
}

}  // namespace pinion::codec
