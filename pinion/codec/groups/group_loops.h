#pragma once
// The inner loops of group_codec.cc, built once per CPU path from one body without fused operations, so that
// all paths give the same bits. Thread-safe, no state.

#include <cstddef>
#include <cstdint>

#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

struct GroupLoops {
  // bf16 to float and back, to nearest, ties to even; the values are finite.
  void (*widen_bf16)(const std::uint16_t* from, std::size_t count, float* to);
  void (*narrow_bf16)(const float* from, std::size_t count, std::uint16_t* to);
  // One group: the largest size; 2^128 or NaN if an element is not finite.
  float (*largest)(const float* values, std::size_t count);
  // Nearest integers of value * inverse_scale, bounded to ±most.
  void (*quantise)(const float* values, std::size_t count, float inverse_scale, float most, std::int8_t* to);
  // index * scale.
  void (*scale)(const std::int8_t* indices, std::size_t count, float scale, float* to);
  // Two numbers of 4 bits a byte, the first in the lower half; `count` is even.
  void (*pack)(const std::int8_t* indices, std::size_t count, std::uint8_t* to);
  void (*unpack)(const std::uint8_t* from, std::size_t count, std::int8_t* indices);
};

// Only where the CPU has that path.
const GroupLoops& group_loops(CpuPath path);
const GroupLoops& group_loops();

}  // namespace pinion::codec
