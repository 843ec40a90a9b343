#pragma once
// Products of bfloat16 matrices that keep a device busy, as a model does.

#include <cuda_runtime.h>

#include <cstddef>

namespace pinion::bench {

inline constexpr std::size_t kLoadSide = 4096;  // of the matrices

// to = x y^T; `x`, `y` [kLoadSide, kLoadSide] of bfloat16, `to` of float32.
void launch_product_load(const void* x, const void* y, float* to, cudaStream_t stream);

}  // namespace pinion::bench
