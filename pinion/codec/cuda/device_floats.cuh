#pragma once
// The element types that modes with loss take, as words in memory and as floats: widened exactly, rounded to
// nearest, ties to even.

#include <cuda_fp16.h>

#include <bit>
#include <cstdint>
#include <limits>

namespace pinion::codec::cuda {

struct F32 {
  using Word = std::uint32_t;
  static constexpr float kLimit = std::numeric_limits<float>::max();
  __device__ static float widen(Word bits) { return __uint_as_float(bits); }
  __device__ static Word narrow(float value) { return __float_as_uint(value); }
};
struct F16 {
  using Word = std::uint16_t;
  static constexpr float kLimit = 65504.0f;
  __device__ static float widen(Word bits) { return __half2float(__ushort_as_half(bits)); }
  __device__ static Word narrow(float value) { return __half_as_ushort(__float2half_rn(value)); }
};
struct BF16 {
  using Word = std::uint16_t;
  static constexpr float kLimit = std::bit_cast<float>(0x7f7f0000u);
  __device__ static float widen(Word bits) { return __uint_as_float(std::uint32_t{bits} << 16); }
  // Of what is not NaN.
  __device__ static Word narrow(float value) {
    const std::uint32_t bits = __float_as_uint(value);
    return static_cast<Word>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

}  // namespace pinion::codec::cuda
