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

  // Calls result(m, n, column, sums) for every row m and every fourth column n of this block's tiles, with
  // four columns' sums and what result.column(n) gave; for those that are past the end of the product too.
  template <class Result>
  __device__ void run(const Result& result) {
    begin_tile(coming_, 0);
    for (std::uint32_t i = 0; i < Form::kStages - 1; ++i) load(i);
    std::uint32_t at = 0;
    for (std::uint32_t tile = 0; tile < own_tiles_; ++tile) {
      clear();
      for (std::uint32_t step = 0; step < steps_; ++step, ++at) {
        wait_for_copies<Form::kStages - 2>();
        __syncthreads();
        load(at + Form::kStages - 1);
        multiply(at % Form::kStages);
        if constexpr (Form::kFoldSteps > 0) {
          if ((step + 1) % Form::kFoldSteps == 0 || step + 1 == steps_) fold();
        }
      }
      Tile own;
      begin_tile(own, tile);
      give(own, result);
    }
  }

 private:
  static constexpr std::uint32_t kN8 = 2 * Form::kColumnPairs;

  // A tile of this block: its number among them, and where it lies in the product.
  struct Tile {
    std::uint32_t number, m, n;
    std::uint32_t step;  // the next one to load
  };
  __device__ void begin_tile(Tile& tile, std::uint32_t number) const {
    const std::uint32_t of_all = blockIdx.x + number * gridDim.x;
    tile = {number, of_all % tiles_m_ * Form::kM, of_all / tiles_m_ * Form::kN, 0};
  }

  __device__ static std::uint32_t place(std::uint32_t row, std::uint32_t chunk) {
    return row * (2 * Form::kDepth) + (chunk ^ (Form::kDepth == 32 ? row >> 1 & 3 : row & 7)) * 16;
  }

  // Starts the copies of the stage that comes next, if there is one. Each thread copies 16 bytes of a row at
  // a time and keeps its place in the rows.
  __device__ void load(std::uint32_t stage) {
    if (coming_.number < own_tiles_) {
      load_stage(shared_ + stage % Form::kStages * Form::kStageBytes);
      if (++coming_.step == steps_) begin_tile(coming_, coming_.number + 1);
    }
    commit_copies();
  }

  __device__ void load_stage(std::uint32_t to) const {
    const std::uint32_t chunk = threadIdx.x % Form::kDepthChunks, k = coming_.step * Form::kDepth + chunk * 8;
    const bool inside = k < product_.depth;
    const std::uint32_t from_k = inside ? k : 0;
    constexpr std::uint32_t kRowsAtOnce = Form::kThreads / Form::kDepthChunks;
#pragma unroll
    for (std::uint32_t i = 0; i < (Form::kRows + kRowsAtOnce - 1) / kRowsAtOnce; ++i) {
      const std::uint32_t row = i * kRowsAtOnce + threadIdx.x / Form::kDepthChunks;
      if (Form::kRows % kRowsAtOnce != 0 && row >= Form::kRows) break;
      const Number* from;
      if (row < Form::kXParts * Form::kM) {
        const ProductSide<Number>& x = product_.x;
        const std::uint32_t part = row / Form::kM;
        const std::uint32_t m = min(coming_.m + row % Form::kM, x.rows - 1);
        from = (part == 0 ? x.parts[0] : x.parts[1]) + std::size_t{m} * x.pitch;
      } else {
        const ProductSide<Number>& y = product_.y;
        const std::uint32_t own = row - Form::kXParts * Form::kM, part = own / Form::kN;
        const std::uint32_t n = min(coming_.n + product_column(own % Form::kN), y.rows - 1);
        from = (part == 0 ? y.parts[0] : y.parts[1]) + std::size_t{n} * y.pitch;
      }
      copy_16_bytes(to + place(row, chunk), from + from_k, inside);
    }
  }

  __device__ void clear() {
    each_sum([this](std::uint32_t i, std::uint32_t j, std::uint32_t c) {
      few_[i][j][c] = 0;
      if constexpr (Form::kFoldSteps > 0) sums_[i][j][c] = 0;
    });
  }

  __device__ void fold() {
    each_sum([this](std::uint32_t i, std::uint32_t j, std::uint32_t c) {
      sums_[i][j][c] += few_[i][j][c];
      few_[i][j][c] = 0;
    });
  }

  template <class Visit>
  __device__ static void each_sum(const Visit& visit) {
#pragma unroll
    for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
#pragma unroll
      for (std::uint32_t j = 0; j < kN8; ++j) {
#pragma unroll
        for (std::uint32_t c = 0; c < 4; ++c) visit(i, j, c);
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
      std::uint32_t x[Form::kRowBlocks][Form::kXParts][4], y[kN8][Form::kYParts][2];
#pragma unroll
      for (std::uint32_t part = 0; part < Form::kXParts; ++part) {
#pragma unroll
        for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i)
          load_matrices(x[i][part], from + place(part * Form::kM + m + 16 * i, 2 * half + lane / 16));
      }
#pragma unroll
      for (std::uint32_t part = 0; part < Form::kYParts; ++part) {
#pragma unroll
        for (std::uint32_t j = 0; j < Form::kColumnPairs; ++j) {
          std::uint32_t four[4];
          const std::uint32_t row = Form::kXParts * Form::kM + part * Form::kN + n + 16 * j;
          load_matrices(four, from + place(row, 2 * half + lane / 8 % 2));
          y[2 * j][part][0] = four[0], y[2 * j][part][1] = four[1];
          y[2 * j + 1][part][0] = four[2], y[2 * j + 1][part][1] = four[3];
        }
      }
#pragma unroll
      for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
#pragma unroll
        for (std::uint32_t j = 0; j < kN8; ++j) {
          multiply_parts<Number, Form::kXParts, Form::kYParts>(few_[i][j], x[i], y[j]);
        }
      }
    }
  }

  template <class Result>
  __device__ void give(const Tile& tile, const Result& result) const {
    const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const std::uint32_t m = tile.m + warp % Form::kWarpsM * (Form::kM / Form::kWarpsM) + lane / 4;
    const std::uint32_t n = tile.n + warp / Form::kWarpsM * (Form::kN / Form::kWarpsN) + lane % 4 * 4;
#pragma unroll
    for (std::uint32_t j = 0; j < Form::kColumnPairs; ++j) {
      const auto column = result.column(n + 16 * j);
#pragma unroll
      for (std::uint32_t i = 0; i < Form::kRowBlocks; ++i) {
        const auto& left = all_sums()[i][2 * j];
        const auto& right = all_sums()[i][2 * j + 1];
        result(m + 16 * i, n + 16 * j, column, make_float4(left[0], left[1], right[0], right[1]));
        result(m + 16 * i + 8, n + 16 * j, column, make_float4(left[2], left[3], right[2], right[3]));
      }
    }
  }

  using Sums = float[Form::kRowBlocks][kN8][4];
  __device__ const Sums& all_sums() const { return Form::kFoldSteps > 0 ? sums_ : few_; }

  const Product<Number>& product_;
  Tile coming_;
  std::uint32_t shared_, tiles_m_, steps_, own_tiles_;
  Sums few_;   // of the tensor cores, since the last fold
  Sums sums_;  // before that
};

}  // namespace pinion::codec::cuda
