#include "pinion/codec/lossless/element_bits.h"

#include <cstring>
#include <type_traits>

#include "pinion/codec/lossless/element_numbers.h"

namespace pinion::codec {
namespace {

template <class Word>
Word load(const std::byte* from, std::size_t i) {
  Word word;
  std::memcpy(&word, from + i * sizeof(Word), sizeof(Word));
  return word;
}

template <NumberForm kForm, class Word>
void split(const std::byte* elements, const std::byte* previous, std::size_t count,
           std::uint8_t* const* planes) {
  constexpr std::size_t kWidth = sizeof(Word);
  std::uint8_t* to[kWidth];
  for (std::size_t p = 0; p < kWidth; ++p) to[p] = planes[p];
  for (std::size_t i = 0; i < count; ++i) {
    const Word before = kForm == NumberForm::kPredicted ? load<Word>(previous, i) : Word{0};
    const Word number = number_of<kForm>(load<Word>(elements, i), before);
    for (std::size_t p = 0; p < kWidth; ++p)
      to[p][i] = static_cast<std::uint8_t>(number >> (8 * (kWidth - 1 - p)));
  }
}

template <NumberForm kForm, class Word>
void join(const std::uint8_t* const* planes, const std::byte* previous, std::size_t count,
          std::byte* elements) {
  constexpr std::size_t kWidth = sizeof(Word);
  const std::uint8_t* from[kWidth];
  for (std::size_t p = 0; p < kWidth; ++p) from[p] = planes[p];
  for (std::size_t i = 0; i < count; ++i) {
    Word number = 0;
    for (std::size_t p = 0; p < kWidth; ++p)
      number |= static_cast<Word>(static_cast<Word>(from[p][i]) << (8 * (kWidth - 1 - p)));
    const Word before = kForm == NumberForm::kPredicted ? load<Word>(previous, i) : Word{0};
    const Word bits = bits_of<kForm>(number, before);
    std::memcpy(elements + i * kWidth, &bits, kWidth);
  }
}

// Calls visit(form, word) with constants of the element's form and a value of its word type.
template <class Visit>
void with_form(DType dtype, bool predicted, Visit visit) {
  using Plain = std::integral_constant<NumberForm, NumberForm::kPlain>;
  using Rotated = std::integral_constant<NumberForm, NumberForm::kRotated>;
  using Predicted = std::integral_constant<NumberForm, NumberForm::kPredicted>;
  if (size_bytes(dtype) == 1)
    return predicted ? visit(Predicted{}, std::uint8_t{}) : visit(Plain{}, std::uint8_t{});
  if (size_bytes(dtype) == 4)
    return predicted ? visit(Predicted{}, std::uint32_t{}) : visit(Rotated{}, std::uint32_t{});
  if (predicted) return visit(Predicted{}, std::uint16_t{});
  return dtype == DType::kBF16 ? visit(Rotated{}, std::uint16_t{}) : visit(Plain{}, std::uint16_t{});
}

}  // namespace

void split_elements(const std::byte* elements, const std::byte* previous, DType dtype, std::size_t count,
                    std::uint8_t* const* planes) {
  with_form(dtype, previous != nullptr, [&](auto form, auto word) {
    split<decltype(form)::value, decltype(word)>(elements, previous, count, planes);
  });
}

void join_elements(const std::uint8_t* const* planes, const std::byte* previous, DType dtype,
                   std::size_t count, std::byte* elements) {
  with_form(dtype, previous != nullptr, [&](auto form, auto word) {
    join<decltype(form)::value, decltype(word)>(planes, previous, count, elements);
  });
}

void context_bytes(const std::byte* elements, DType dtype, std::size_t count, std::uint8_t* out) {
  with_form(dtype, false, [&](auto form, auto word) {
    using Word = decltype(word);
    for (std::size_t i = 0; i < count; ++i) {
      const Word number = number_of<decltype(form)::value>(load<Word>(elements, i), Word{0});
      out[i] = static_cast<std::uint8_t>(number >> (kWordBits<Word> - 8));
    }
  });
}

}  // namespace pinion::codec
