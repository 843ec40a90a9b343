#include "bench/product_load.h"
#include "pinion/codec/cuda/tile_product.cuh"

namespace pinion::bench {
namespace {

using codec::cuda::Product;
using Form = codec::cuda::ProductForm<128, 128, 2, 4, 1, 1, false, 4>;

__global__ void __launch_bounds__(Form::kThreads, 1)
    multiply_load(const __nv_bfloat16* x, const __nv_bfloat16* y, float* to) {
  extern __shared__ uint4 memory[];
  const auto side = static_cast<std::uint32_t>(kLoadSide);
  const Product<__nv_bfloat16> product{{{x, nullptr}, side, side}, {{y, nullptr}, side, side}, side};
  codec::cuda::TileProduct<__nv_bfloat16, Form> tiles(product, reinterpret_cast<std::byte*>(memory));
  tiles.run([&](std::uint32_t m, std::uint32_t n, float4 sums) {
    *reinterpret_cast<float4*>(to + std::size_t{m} * kLoadSide + n) = sums;
  });
}

}  // namespace

void launch_product_load(const void* x, const void* y, float* to, cudaStream_t stream) {
  static const bool allowed = cudaFuncSetAttribute(multiply_load, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(Form::kSharedBytes)) == cudaSuccess;
  // A block for each tile: others' blocks come in between.
  constexpr std::uint32_t kTiles = (kLoadSide / Form::kM) * (kLoadSide / Form::kN);
  if (allowed)
    multiply_load<<<kTiles, Form::kThreads, Form::kSharedBytes, stream>>>(
        static_cast<const __nv_bfloat16*>(x), static_cast<const __nv_bfloat16*>(y), to);
}

}  // namespace pinion::bench
