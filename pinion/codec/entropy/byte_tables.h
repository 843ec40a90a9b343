#pragma once
// Tables of up to 16 classes of byte symbols, laid out for loops that look many of them up at once. Built
// once per plane; reading is thread-safe.

#include <cstdint>
#include <span>
#include <vector>

#include "pinion/codec/entropy/rans.h"

namespace pinion::codec {

inline constexpr std::size_t kMaxByteClasses = 16;

// What a slot says, in one word: symbol in bits 0 to 7, frequency - 1 in bits 8 to 19, slot minus the
// symbol's start in bits 20 to 31.
class ByteDecodeTables {
 public:
  // Each with kMaxAlphabet entries.
  void build(std::span<const Frequencies> classes);

  // kProbabilityScale words for each class.
  const std::uint32_t* slots() const { return slots_.data(); }

 private:
  std::vector<std::uint32_t> slots_;
};

// What a symbol takes to encode: floor(2^32 / frequency), at most 2^32 - 1, and frequency in bits 0 to 15
// with its start in bits 16 to 31. kMaxAlphabet words of each kind for each class.
class ByteEncodeTables {
 public:
  void build(std::span<const Frequencies> classes);

  const std::uint32_t* reciprocals() const { return reciprocals_.data(); }
  const std::uint32_t* ranges() const { return ranges_.data(); }

 private:
  std::vector<std::uint32_t> reciprocals_;
  std::vector<std::uint32_t> ranges_;
};

}  // namespace pinion::codec
