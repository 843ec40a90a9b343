#pragma once
// The arithmetic of one group of modes 4 and 5 (docs/format.md §10), for code on any processor: constexpr
// functions, to be compiled without fused operations so that all of them give the same bits.

#include <bit>
#include <cstdint>
#include <limits>

#include "pinion/codec/math/inline.h"

namespace pinion::codec {

inline constexpr std::uint16_t kLargestGroupScale = 0x7f7f;

// The least 16 bits that are not below size / most, 0 where that is too small to divide by. `size` is the
// largest of the group.
PINION_INLINE constexpr std::uint16_t group_scale(float size, float most) {
  const float exact = size / most;
  if (!(exact >= std::numeric_limits<float>::min())) return 0;
  const std::uint32_t rounded = (std::bit_cast<std::uint32_t>(exact) + 0xffff) >> 16;
  return static_cast<std::uint16_t>(rounded < kLargestGroupScale ? rounded : kLargestGroupScale);
}

PINION_INLINE constexpr float scale_value(std::uint16_t scale) {
  return std::bit_cast<float>(std::uint32_t{scale} << 16);
}

PINION_INLINE constexpr float inverse_of_scale(std::uint16_t scale) {
  return scale == 0 ? 0.0f : 1 / scale_value(scale);
}

// The nearest integer from -most to most.
PINION_INLINE constexpr std::int8_t group_integer(float element, float inverse_scale, float most) {
  constexpr float kBig = 12582912.0f;  // 1.5 · 2^23: sums with it have no fraction
  float value = element * inverse_scale;
  value = value > most ? most : value;
  value = value < -most ? -most : value;
  return static_cast<std::int8_t>(std::bit_cast<std::int32_t>(value + kBig) -
                                  std::bit_cast<std::int32_t>(kBig));
}

// What an integer stands for, bounded to ±limit.
PINION_INLINE constexpr float group_value(std::int8_t integer, float scale, float limit) {
  float value = static_cast<float>(integer) * scale;
  value = value > limit ? limit : value;
  return value < -limit ? -limit : value;
}

}  // namespace pinion::codec
