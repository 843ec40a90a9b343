#include "pinion/codec/bounded/bounded_loops.h"

#include <bit>

#include "pinion/codec/bounded/bounded_format.h"
#include "pinion/codec/math/vector_ops.h"

namespace pinion::codec {
namespace {

constexpr std::uint32_t kLargestNumber = 0xffff;

// All bits if so. In integers, since the compiler keeps branches that floats guard.
PINION_INLINE std::uint32_t mask(bool condition) { return condition ? 0xffffffffu : 0u; }

PINION_INLINE float absolute(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
}

PINION_INLINE float nearest_or_zero(float value) {
  constexpr float kBig = 12582912.0f;  // 1.5 · 2^23: sums with it have no fraction
  const float rounded = (value + kBig) - kBig;
  // Sizes of floats are in the order of their bits, and those of NaN are the largest.
  const std::uint32_t size = std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
  const std::uint32_t kept = mask(size <= std::bit_cast<std::uint32_t>(kMaxBoundedIndex));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(rounded) & kept);
}

PINION_INLINE void round_body(const float* values, const BoundedSteps& with, std::size_t count,
                              float* indices, float* decoded) {
  const float* steps = with.steps;
  const float* inverse_steps = with.inverse_steps;
  for (std::size_t i = 0; i < count; ++i) {
    indices[i] = nearest_or_zero(values[i] * inverse_steps[i]);
    decoded[i] = indices[i] * steps[i];
  }
}

template <bool kPredicted>
PINION_INLINE void number_body(const float* values, const float* decoded, const float* indices,
                               const float* before, const BoundedSteps& with, std::size_t count,
                               std::uint16_t* numbers) {
  const float* steps = with.steps;
  const float* bounds = with.bounds;
  for (std::size_t i = 0; i < count; ++i) {
    const float prediction = kPredicted ? nearest_or_zero(before[i] / steps[i]) : 0.0f;
    const auto residual = static_cast<std::int32_t>(indices[i] - prediction);
    const std::uint32_t number =
        (static_cast<std::uint32_t>(residual) << 1 ^ static_cast<std::uint32_t>(residual >> 31)) + 1;
    // Below the bound what rounding took away cannot matter; at the bound there must be nothing of it.
    const float difference = values[i] - decoded[i];
    const float back = difference - values[i];
    const float rest = (values[i] - (difference - back)) - (decoded[i] + back);
    const float error = absolute(difference);
    const std::uint32_t below = mask(error < bounds[i]);  // NaN is not
    const std::uint32_t met = below | (mask(error == bounds[i]) & mask(rest == 0));
    const std::uint32_t small = mask(number <= kLargestNumber);
    numbers[i] = static_cast<std::uint16_t>(number & met & small);
  }
}

PINION_INLINE std::uint16_t least_body(const std::uint16_t* numbers, std::size_t count) {
  std::uint16_t least = 0xffff;
  for (std::size_t i = 0; i < count; ++i) least = numbers[i] < least ? numbers[i] : least;
  return least;
}

template <bool kPredicted>
PINION_INLINE void restore_body(const std::uint16_t* numbers, const float* before, const float* steps,
                                std::size_t count, float* values) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto zigzag = static_cast<std::int32_t>(numbers[i]) - 1;
    const std::int32_t residual = (zigzag >> 1) ^ -(zigzag & 1);
    const float prediction = kPredicted ? nearest_or_zero(before[i] / steps[i]) : 0.0f;
    values[i] = (static_cast<float>(residual) + prediction) * steps[i];
  }
}

static_assert(kEscape == 0);

// One set of functions: the bodies, built for a CPU path.
#define PINION_BOUNDED_SET(set, attributes)                                                               \
  struct set {                                                                                            \
    attributes static void round(const float* values, const BoundedSteps& with, std::size_t count,        \
                                 float* indices, float* decoded) {                                        \
      round_body(values, with, count, indices, decoded);                                                  \
    }                                                                                                     \
    attributes static void number(const float* values, const float* decoded, const float* indices,        \
                                  const float* before, const BoundedSteps& with, std::size_t count,       \
                                  std::uint16_t* numbers) {                                               \
      if (before == nullptr)                                                                              \
        return number_body<false>(values, decoded, indices, before, with, count, numbers);                \
      number_body<true>(values, decoded, indices, before, with, count, numbers);                          \
    }                                                                                                     \
    attributes static void restore(const std::uint16_t* numbers, const float* before, const float* steps, \
                                   std::size_t count, float* values) {                                    \
      if (before == nullptr) return restore_body<false>(numbers, before, steps, count, values);           \
      restore_body<true>(numbers, before, steps, count, values);                                          \
    }                                                                                                     \
    attributes static std::uint16_t least(const std::uint16_t* numbers, std::size_t count) {              \
      return least_body(numbers, count);                                                                  \
    }                                                                                                     \
    static constexpr BoundedLoops kLoops = {round, number, least, restore};                               \
  }

PINION_BOUNDED_SET(Portable, );
PINION_BUILD_FOR_AVX2(PINION_BOUNDED_SET, Avx2, Portable);

}  // namespace

const BoundedLoops& bounded_loops(CpuPath path) { return built_for(path, Portable::kLoops, Avx2::kLoops); }

const BoundedLoops& bounded_loops() { return bounded_loops(best_cpu_path()); }

}  // namespace pinion::codec
