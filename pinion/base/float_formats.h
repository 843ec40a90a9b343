#pragma once
// Scalar conversions between the narrow float formats and float32, bit-exact with IEEE 754 (fp16),
// truncated float32 (bf16) and OCP OFP8 (fp8). Round to nearest, ties to even. Pure functions.

#include <bit>
#include <cstdint>
#include <vector>

#include "pinion/base/tensor.h"

namespace pinion {

inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // A NaN whose payload lies in the low half would round to infinity: keep it quiet instead.
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  const std::uint32_t to_even = 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<std::uint16_t>((bits + to_even) >> 16);
}

float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_f16(float value);
float f8e4m3_to_float(std::uint8_t bits);
float f8e5m2_to_float(std::uint8_t bits);

// Element `index` of an array of `dtype` (a float type) as float32.
float load_as_float(const std::byte* data, DType dtype, std::int64_t index);

// Converts whole arrays; `dtype` must be a float type (kF64 is narrowed). `count` in elements.
void to_float(const std::byte* data, DType dtype, std::int64_t count, float* out);

// Rounds float32 into kF32, kF16 or kBF16; any other dtype is an assertion failure.
void from_float(const float* data, std::int64_t count, DType dtype, std::byte* out);

// The tensor (host memory, a float type) as float32; the same storage if it is float32 already.
Tensor as_float32(const Tensor& tensor);

// The same of kF32, kF16 or kBF16, in memory of its own.
Tensor converted(const Tensor& tensor, DType dtype);

// Its elements as float32.
std::vector<float> floats_of(const Tensor& tensor);

}  // namespace pinion
