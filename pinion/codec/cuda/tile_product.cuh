#pragma once
// Products of matrices on tensor cores: out[m][n] = sum over k of x[m][k] y[n][k], sums in binary32. A number
// may come in two parts, the second what the first one's rounding left: with two parts on both sides three
// products are summed, and what is left out is 2^-22 of the result (binary16) or 2^-16 (bfloat16).
//
// Blocks stay and take tiles in turns; what a tile needs is on its way while the one before is computed.
// Devices before compute capability 8 compute the same without tensor cores, slowly.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "pinion/codec/cuda/matrix_steps.cuh"
#include "pinion/codec/cuda/product_form.cuh"

namespace pinion::codec::cuda {

template <class Number, class Form>
class TileProduct {
 public:
  __device__ TileProduct(const Product<Number>& product, std::byte* shared)
      : product_(product),
        shared_(shared_address(shared)),
        tiles_m_((product.x.rows - 1) / Form::kM + 1),
        steps_((product.depth - 1) / Form::kDepth + 1) {
    const std::uint32_t tiles = tiles_m_ * ((product.y.rows - 1) / Form::kN + 1);
    own_tiles_ = blockIdx.x < tiles ? (tiles - blockIdx.x - 1) / gridDim.x + 1 : 0;
  }

  // Calls result(m, n, values) for every row m and every fourth column n of this block's tiles, with four
  // columns' sums; those that are past the end of the product too.
  template <class Result>
  __device__ void run(const Result& result) {
    const std::uint32_t total = own_tiles_ * steps_;
    std::uint32_t loaded = 0;
    for (; loaded < Form::kStages - 1; ++loaded) {
      if (loaded < total) load(loaded);
      commit_copies();
    }
    std::uint32_t at = 0;
    for (std::uint32_t tile = 0; tile < own_tiles_; ++tile) {
      clear();
      for (std::uint32_t step = 0; step < steps_; ++step, ++at, ++loaded) {
        wait_for_copies<Form::kStages - 2>();
        __syncthreads();
        if (loaded < total) load(loaded);
        commit_copies();
        multiply(at % Form::kStages);
      }
      give(tile, result);
    }
  }

 private:
  static constexpr std::uint32_t kN8 = 2 * Form::kColumnPairs;

  __device__ std::uint32_t tile_m(std::uint32_t tile) const {
    return (blockIdx.x + tile * gridDim.x) % tiles_m_ * Form::kM;
  }
  __device__ std::uint32_t tile_n(std::uint32_t tile) const {
    return (blockIdx.x + tile * gridDim.x) / tiles_m_ * Form::kN;
  }

  __device__ static std::uint32_t place(std::uint32_t row, std::uint32_t chunk) {
    return row * (2 * Form::kDepth) + (chunk ^ (row >> 1 & 3)) * 16;
  }

  // 16 bytes of four numbers' eight each go from every row of a stage; each thread keeps its place in a row.
  __device__ void load(std::uint32_t index) const {
    const std::uint32_t step = index % steps_, tile = index / steps_;
    const std::uint32_t to = shared_ + index % Form::kStages * Form::kStageBytes;
    const std::uint32_t chunk = threadIdx.x % 4, k = step * Form::kDepth + chunk * 8;
    const bool inside = k < product_.depth;
    const std::uint32_t from_k = inside ? k : 0;
    constexpr std::uint32_t kRowsAtOnce = Form::kThreads / 4;
#pragma unroll
    for (std::uint32_t i = 0; i < (Form::kRows + kRowsAtOnce - 1) / kRowsAtOnce; ++i) {
      const std::uint32_t row = i * kRowsAtOnce + threadIdx.x / 4;
      if (Form::kRows % kRowsAtOnce != 0 && row >= Form::kRows) break;
      const Number* from;
      if (row < Form::kXParts * Form::kM) {
        const ProductSide<Number>& x = product_.x;
        const std::uint32_t part = row / Form::kM;
        const std::uint32_t m = min(tile_m(tile) + row % Form::kM, x.rows - 1);
        from = (part == 0 ? x.parts[0] : x.parts[1]) + std::size_t{m} * x.pitch;
      } else {
        const ProductSide<Number>& y = product_.y;
        const std::uint32_t own = row - Form::kXParts * Form::kM, part = own / Form::kN;
        const std::uint32_t n = min(tile_n(tile) + product_column(own % Form::kN), y.rows - 1);
        from = (part == 0 ? y.parts[0] : y.parts[1]) + std::size_t{n} * y.pitch;
      }
      copy_16_bytes(to + place(row, chunk), from + from_k, inside);
    }
  }

  __device__ void clear() {
#pragma unroll
    for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
#pragma unroll
      for (std::uint32_t j = 0; j < kN8; ++j) {
#pragma unroll
        for (std::uint32_t c = 0; c < 4; ++c) sums_[i][j][c] = 0;
      }
    }
  }

  __device__ void multiply(std::uint32_t stage) {
    const std::uint32_t from = shared_ + stage * Form::kStageBytes;
    const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const std::uint32_t m = warp % Form::kWarpsM * (Form::kM / Form::kWarpsM) + lane % 16;
    const std::uint32_t n = warp / Form::kWarpsM * (Form::kN / Form::kWarpsN) + lane / 16 * 8 + lane % 8;
#pragma unroll
    for (std::uint32_t half = 0; half < Form::kDepth / 16; ++half) {
      std::uint32_t x[Form::kXParts][Form::kRowBlocks][4], y[Form::kYParts][kN8][2];
#pragma unroll
      for (std::uint32_t part = 0; part < Form::kXParts; ++part) {
#pragma unroll
        for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i)
          load_matrices(x[part][i], from + place(part * Form::kM + m + 16 * i, 2 * half + lane / 16));
      }
#pragma unroll
      for (std::uint32_t part = 0; part < Form::kYParts; ++part) {
#pragma unroll
        for (std::uint32_t j = 0; j < Form::kColumnPairs; ++j) {
          std::uint32_t four[4];
          const std::uint32_t row = Form::kXParts * Form::kM + part * Form::kN + n + 16 * j;
          load_matrices(four, from + place(row, 2 * half + lane / 8 % 2));
          y[part][2 * j][0] = four[0], y[part][2 * j][1] = four[1];
          y[part][2 * j + 1][0] = four[2], y[part][2 * j + 1][1] = four[3];
        }
      }
#pragma unroll
      for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
#pragma unroll
        for (std::uint32_t j = 0; j < kN8; ++j) {
          if constexpr (Form::kFolds) {
            float few[4] = {0, 0, 0, 0};
            add_products(few, x, y, i, j);
#pragma unroll
            for (std::uint32_t c = 0; c < 4; ++c) sums_[i][j][c] += few[c];
          } else {
            add_products(sums_[i][j], x, y, i, j);
          }
        }
      }
    }
  }

  // The small ones first.
  __device__ static void add_products(float (&to)[4],
                                      const std::uint32_t (&x)[Form::kXParts][Form::kRowBlocks][4],
                                      const std::uint32_t (&y)[Form::kYParts][kN8][2], std::uint32_t i,
                                      std::uint32_t j) {
    if constexpr (Form::kXParts == 2) multiply_16x8<Number>(to, x[Form::kXParts - 1][i], y[0][j]);
    if constexpr (Form::kYParts == 2) multiply_16x8<Number>(to, x[0][i], y[Form::kYParts - 1][j]);
    multiply_16x8<Number>(to, x[0][i], y[0][j]);
  }

  template <class Result>
  __device__ void give(std::uint32_t tile, const Result& result) const {
    const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const std::uint32_t m = tile_m(tile) + warp % Form::kWarpsM * (Form::kM / Form::kWarpsM) + lane / 4;
    const std::uint32_t n = tile_n(tile) + warp / Form::kWarpsM * (Form::kN / Form::kWarpsN) + lane % 4 * 4;
#pragma unroll
    for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
#pragma unroll
      for (std::uint32_t j = 0; j < Form::kColumnPairs; ++j) {
        const auto& left = sums_[i][2 * j];
        const auto& right = sums_[i][2 * j + 1];
        result(m + 16 * i, n + 16 * j, make_float4(left[0], left[1], right[0], right[1]));
        result(m + 16 * i + 8, n + 16 * j, make_float4(left[2], left[3], right[2], right[3]));
      }
    }
  }

  const Product<Number>& product_;
  std::uint32_t shared_, tiles_m_, steps_, own_tiles_;
  float sums_[Form::kRowBlocks][kN8][4];
};

}  // namespace pinion::codec::cuda
