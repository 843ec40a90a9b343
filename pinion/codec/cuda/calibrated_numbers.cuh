#pragma once
// Arithmetic of mode 6 that several kernels share.

#include "pinion/codec/cuda/calibrated_jobs.h"

namespace pinion::codec::cuda {

// The number of a position between two records (docs/format.md §12.2), in the order of operations of the CPU.
__device__ inline float blended(float from, float to, std::int32_t part) {
  return part == 0 ? from : from + (to - from) * static_cast<float>(part) / 256;
}

// That of an array with `width` numbers for each record.
__device__ inline float blended_at(const float* numbers, std::size_t width, const RecordPair& records,
                                   std::size_t i) {
  return blended(__ldg(numbers + records.first * width + i), __ldg(numbers + records.second * width + i),
                 records.part);
}

__device__ inline bool is_finite(float value) {
  return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

// 2^exponent, which is kept within what binary32 and its reciprocal have.
__device__ inline float power_of_two(int exponent) {
  return __uint_as_float(static_cast<std::uint32_t>(127 + max(-126, min(exponent, 126))) << 23);
}

// floor(log2 size) of a normal number, about that of others.
__device__ inline int exponent_of(float size) {
  return static_cast<int>(__float_as_uint(size) >> 23 & 255) - 127;
}

// Whether this block is the last of its grid that comes here, in all its threads; `done` counts them from 0.
// The last one reads what the others wrote past its own cache.
__device__ inline bool is_last_block(std::uint32_t& done) {
  __shared__ bool is_last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    is_last = atomicAdd(&done, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return is_last;
}

// An element of a tensor of one of the types that lossy modes take, by its number in frames.
__device__ inline float element_as_float(const std::byte* tensor, std::uint8_t dtype, std::size_t i) {
  if (dtype == 2) return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(tensor)[i]);
  if (dtype == 1) return __half2float(reinterpret_cast<const __half*>(tensor)[i]);
  return reinterpret_cast<const float*>(tensor)[i];
}

}  // namespace pinion::codec::cuda
