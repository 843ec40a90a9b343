#pragma once
// The steps that products on tensor cores are made of: copies to shared memory that go on beside the
// computation, and one multiplication of 16 x 16 by 16 x 8 numbers by a warp. Devices that have no such
// copies or numbers do the same by plain loads and shuffles.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pinion::codec::cuda {

__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

// From aligned device memory, or zeros.
__device__ inline void copy_16_bytes(std::uint32_t to, const void* from, bool or_zeros) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(or_zeros ? 16 : 0)
               : "memory");
#else
  uint4 value = make_uint4(0, 0, 0, 0);
  if (or_zeros) value = __ldg(static_cast<const uint4*>(from));
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
#endif
}

__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until no more than the last kPending groups of copies are under way.
template <int kPending>
__device__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// Four 8 x 8 matrices of 16-bit numbers; lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline void load_matrices(std::uint32_t (&to)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(row)
               : "memory");
}

__device__ inline float2 both_as_float(std::uint32_t pair, __half) {
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}
__device__ inline float2 both_as_float(std::uint32_t pair, __nv_bfloat16) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}

// The same as the instruction: lane l has columns 2 (l % 4) and the next of rows l / 4 and 8 more; of x the
// same rows, of y column l / 4, numbers 2 (l % 4), the next, and those 8 further on. A call: inlined, a
// product's loops would become too long to compile.
template <class Number>
__device__ __noinline__ float4 multiplied_plainly(float4 sums, uint4 x, uint2 y) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll 1
  for (int pair = 0; pair < 8; ++pair) {
    const bool upper = pair >= 4;
    const int from = pair % 4, of_row = lane / 4 * 4 + from, of_column = lane % 4 * 8 + from;
    const float2 low = both_as_float(__shfl_sync(~0u, upper ? x.z : x.x, of_row), Number{});
    const float2 high = both_as_float(__shfl_sync(~0u, upper ? x.w : x.y, of_row), Number{});
    const float2 left = both_as_float(__shfl_sync(~0u, upper ? y.y : y.x, of_column), Number{});
    const float2 right = both_as_float(__shfl_sync(~0u, upper ? y.y : y.x, of_column + 4), Number{});
    sums.x += low.x * left.x + low.y * left.y;
    sums.y += low.x * right.x + low.y * right.y;
    sums.z += high.x * left.x + high.y * left.y;
    sums.w += high.x * right.x + high.y * right.y;
  }
  return sums;
}

template <class Number>
__device__ void multiply_16x8(float (&to)[4], const std::uint32_t (&x)[4], const std::uint32_t (&y)[2]) {
#if __CUDA_ARCH__ >= 800
  if constexpr (sizeof(Number) == 2 && __is_same(Number, __half)) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3])
        : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  }
#else
  const float4 sums = multiplied_plainly<Number>(make_float4(to[0], to[1], to[2], to[3]),
                                                 make_uint4(x[0], x[1], x[2], x[3]), make_uint2(y[0], y[1]));
  to[0] = sums.x, to[1] = sums.y, to[2] = sums.z, to[3] = sums.w;
#endif
}

}  // namespace pinion::codec::cuda
