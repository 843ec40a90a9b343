#pragma once
// The inner loops of mode 3, built once per CPU path from one body without fused operations, so that all
// paths give the same bits. Thread-safe, no state. Pointers are to `count` values each, of successive
// elements.

#include <cstddef>
#include <cstdint>

#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

// What an element is coded with, by its channel.
struct BoundedSteps {
  const float* steps;
  const float* inverse_steps;
  const float* bounds;
};

struct BoundedLoops {
  // The nearest index of each value (0 where that would be too large) as a float, and what it stands for.
  void (*round)(const float* values, const BoundedSteps& with, std::size_t count, float* indices,
                float* decoded);
  // The number (docs/format.md §9.2) of each element, which decodes to `decoded`; kEscape where that is off
  // by more than the bound or the number takes more than two bytes. `before` may be null.
  void (*number)(const float* values, const float* decoded, const float* indices, const float* before,
                 const BoundedSteps& with, std::size_t count, std::uint16_t* numbers);
  // The least of the numbers: kEscape if there is one.
  std::uint16_t (*least)(const std::uint16_t* numbers, std::size_t count);
  // What numbers stand for; any float for kEscape.
  void (*restore)(const std::uint16_t* numbers, const float* before, const float* steps, std::size_t count,
                  float* values);
};

// Only where the CPU has that path.
const BoundedLoops& bounded_loops(CpuPath path);
const BoundedLoops& bounded_loops();

}  // namespace pinion::codec
