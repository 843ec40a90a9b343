#pragma once
// The arithmetic of one element of mode 3 (docs/format.md §9), for code on any processor: constexpr
// functions, to be compiled without fused operations so that all of them give the same bits.

#include <bit>
#include <cstdint>
#include <limits>

#include "pinion/codec/bounded/bounded_format.h"
#include "pinion/codec/math/inline.h"

namespace pinion::codec {

// All bits if so. In integers, since compilers keep branches that floats guard.
PINION_INLINE constexpr std::uint32_t mask_if(bool condition) { return condition ? 0xffffffffu : 0u; }

PINION_INLINE constexpr float float_size(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
}

// The nearest integer, ties to even; 0 for NaN and above kMaxBoundedIndex.
PINION_INLINE constexpr float nearest_or_zero(float value) {
  constexpr float kBig = 12582912.0f;  // 1.5 · 2^23: sums with it have no fraction
  const float rounded = (value + kBig) - kBig;
  // Sizes of floats are in the order of their bits, and those of NaN are the largest.
  const std::uint32_t size = std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
  const std::uint32_t kept = mask_if(size <= std::bit_cast<std::uint32_t>(kMaxBoundedIndex));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(rounded) & kept);
}

// The integer that an element of the state predicts.
PINION_INLINE constexpr float bounded_prediction(float before, float step) {
  return nearest_or_zero(before / step);
}

// The number of an element that has `index` steps and decodes to `decoded`; kEscape where that is off by more
// than the bound or the number takes more than two bytes.
PINION_INLINE constexpr std::uint32_t bounded_number(float value, float decoded, float index,
                                                     float prediction, float bound) {
  constexpr std::uint32_t kLargestNumber = 0xffff;
  static_assert(kEscape == 0);
  const auto residual = static_cast<std::int32_t>(index - prediction);
  const std::uint32_t number =
      (static_cast<std::uint32_t>(residual) << 1 ^ static_cast<std::uint32_t>(residual >> 31)) + 1;
  // Below the bound what rounding took away cannot matter; at the bound there must be nothing of it.
  const float difference = value - decoded;
  const float back = difference - value;
  const float rest = (value - (difference - back)) - (decoded + back);
  const float error = float_size(difference);
  const std::uint32_t below = mask_if(error < bound);  // NaN is not
  const std::uint32_t met = below | (mask_if(error == bound) & mask_if(rest == 0));
  const std::uint32_t small = mask_if(number <= kLargestNumber);
  return number & met & small;
}

// What a number stands for before it is rounded to the element type; any float for kEscape.
PINION_INLINE constexpr float bounded_value(std::uint32_t number, float prediction, float step) {
  const auto zigzag = static_cast<std::int32_t>(number) - 1;
  const std::int32_t residual = (zigzag >> 1) ^ -(zigzag & 1);
  return (static_cast<float>(residual) + prediction) * step;
}

// The largest float that is not above a positive number.
constexpr float float_not_above(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  const double finite = value < kMost ? value : kMost;
  const auto rounded = static_cast<float>(finite);
  // The float before it, or 0.
  return static_cast<double>(rounded) > finite
             ? std::bit_cast<float>(std::bit_cast<std::uint32_t>(rounded) - 1)
             : rounded;
}

// The largest step that keeps the rounding within `bound`, rounded down to 16 bits.
constexpr std::uint16_t step_within(double bound) {
  const std::uint32_t half = std::bit_cast<std::uint32_t>(float_not_above(2 * bound)) >> 16;
  if (half < kLeastStep) return kLeastStep;
  return half > kLargestStep ? kLargestStep : static_cast<std::uint16_t>(half);
}

constexpr float step_value(std::uint16_t step) { return std::bit_cast<float>(std::uint32_t{step} << 16); }

}  // namespace pinion::codec
