#include "pinion/codec/bounded/bounded_loops.h"

#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/math/vector_ops.h"

namespace pinion::codec {
namespace {

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
    const float prediction = kPredicted ? bounded_prediction(before[i], steps[i]) : 0.0f;
    numbers[i] =
        static_cast<std::uint16_t>(bounded_number(values[i], decoded[i], indices[i], prediction, bounds[i]));
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
    const float prediction = kPredicted ? bounded_prediction(before[i], steps[i]) : 0.0f;
    values[i] = bounded_value(numbers[i], prediction, steps[i]);
  }
}

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
