#pragma once
// The inner loops of group_codec.cc, built once per CPU path from one body without fused operations, so that
// all paths give the same bits. Thread-safe, no state.

#include <cstddef>
#include <cstdint>

#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

inline constexpr std::size_t kGroupElements = 32;

struct GroupLoops {
  // bf16 to float and back, to nearest, ties to even; no NaN.
  void (*widen_bf16)(const std::uint16_t* from, std::size_t count, float* to);
  void (*narrow_bf16)(const float* from, std::size_t count, std::uint16_t* to);
  // Whole and broken groups of a row: the scale of each, and integers from -most to most. Returns the largest
  // size of a value: infinite or NaN if one is not finite.
  float (*encode)(const float* values, std::size_t count, float most, std::uint16_t* scales,
                  std::int8_t* integers);
  // integer * scale, bounded to ±limit.
  void (*decode)(const std::int8_t* integers, const std::uint16_t* scales, std::size_t count, float limit,
                 float* values);
  // Two numbers of 4 bits a byte, the first in the lower half; `count` is even.
  void (*pack)(const std::int8_t* integers, std::size_t count, std::uint8_t* to);
  void (*unpack)(const std::uint8_t* from, std::size_t count, std::int8_t* integers);
};

// Only where the CPU has that path.
const GroupLoops& group_loops(CpuPath path);
const GroupLoops& group_loops();

}  // namespace pinion::codec
