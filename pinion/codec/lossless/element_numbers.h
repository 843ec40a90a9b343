#pragma once
// An element's bits as a number, and back (docs/format.md §5.1), for code on any processor: constexpr
// functions without calls into libraries. `Word` is the unsigned type of the element's size.

#include <bit>
#include <cstdint>

#include "pinion/base/dtype.h"

namespace pinion::codec {

// How a number is made of an element, and an element of a number.
enum class NumberForm : std::uint8_t { kPlain, kRotated, kPredicted };

// Of a key frame.
constexpr NumberForm key_form(DType dtype) {
  return dtype == DType::kBF16 || dtype == DType::kF32 ? NumberForm::kRotated : NumberForm::kPlain;
}

template <class Word>
inline constexpr int kWordBits = 8 * sizeof(Word);

// Numbers in the order of the values: its own inverse.
template <class Word>
constexpr Word ordered(Word bits) {
  const auto negative = static_cast<Word>(0 - (bits >> (kWordBits<Word> - 1)));
  return bits ^ static_cast<Word>(negative >> 1);
}

template <NumberForm kForm, class Word>
constexpr Word number_of(Word bits, Word before) {
  if constexpr (kForm == NumberForm::kRotated) return std::rotl(bits, 1);
  if constexpr (kForm == NumberForm::kPredicted) {
    const auto change = static_cast<Word>(ordered(bits) - ordered(before));
    const auto negative = static_cast<Word>(0 - (change >> (kWordBits<Word> - 1)));
    return static_cast<Word>(change << 1) ^ negative;
  }
  return bits;
}

template <NumberForm kForm, class Word>
constexpr Word bits_of(Word number, Word before) {
  if constexpr (kForm == NumberForm::kRotated) return std::rotr(number, 1);
  if constexpr (kForm == NumberForm::kPredicted) {
    const auto negative = static_cast<Word>(0 - (number & 1));
    const auto change = static_cast<Word>(static_cast<Word>(number >> 1) ^ negative);
    return ordered(static_cast<Word>(ordered(before) + change));
  }
  return number;
}

}  // namespace pinion::codec
