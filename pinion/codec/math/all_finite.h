#pragma once
// Whether no value is NaN or infinite. Pure function.

#include <bit>
#include <cstdint>
#include <span>

namespace pinion::codec {

inline bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  bool bad = false;
  for (const float value : values) bad |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent;
  return !bad;
}

}  // namespace pinion::codec
