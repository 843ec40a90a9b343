#pragma once
// Products of matrices as in tile_product.cuh for devices of compute capability 9.0: tensor cores read both
// sides from shared memory, and the device copies there by itself. One thread of a block asks for the copies,
// two groups of four warps multiply, each 64 rows of a tile. Two blocks that share a side of their tiles copy
// half of it each, to both: the cache in front of device memory could not feed them otherwise.

#include <cstdint>

#include "pinion/codec/cuda/matrix_steps.cuh"
#include "pinion/codec/cuda/wide_form.cuh"
#include "pinion/codec/cuda/wide_steps.cuh"

namespace pinion::codec::cuda {

template <class Number, class Form>
class WideProduct {
 public:
  __device__ WideProduct(const WideSides& sides, std::byte* shared)
      : sides_(sides),
        stages_((shared_address(shared) + Form::kAlignment - 1) & ~(Form::kAlignment - 1)),
        full_(stages_ + Form::kStages * Form::kStageBytes),
        free_(full_ + 8 * Form::kStages),
        steps_((sides.depth - 1) / Form::kDepth + 1),
        rank_(rank_in_pair()) {
    const std::uint32_t tiles_m = (sides.x_rows - 1) / Form::kM + 1,
                        tiles_n = (sides.y_rows - 1) / Form::kN + 1;
    // Pairs of tiles, those that have the same rows of y one behind the other.
    across_ = Form::kSharesX ? tiles_m : (tiles_m + 1) / 2;
    pairs_ = across_ * (Form::kSharesX ? (tiles_n + 1) / 2 : tiles_n);
  }

  // As TileProduct::run().
  template <class Result>
  __device__ void run(const Result& result) {
    if (threadIdx.x == 0) {
      for (std::uint32_t i = 0; i < Form::kStages; ++i) {
        make_barrier(full_ + 8 * i, 1);
        make_barrier(free_ + 8 * i, 2 * Form::kGroups);
      }
      show_barriers();
    }
    meet_pair();
    if (threadIdx.x < Form::kGroup) {
      give_registers<40>();
      if (threadIdx.x == 0) bring();
    } else {
      take_registers<232>();
      multiply(result);
    }
    __syncwarp();
    meet_pair();  // the other block may still copy to this one
  }

 private:
  static constexpr std::uint32_t kSums = Form::kN / 2;
  using Sums = float[kSums];

  struct Tile {
    std::uint32_t m, n;
  };
  __device__ Tile tile(std::uint32_t pair) const {
    const std::uint32_t a = pair % across_, b = pair / across_;
    return Form::kSharesX ? Tile{a * Form::kM, (2 * b + rank_) * Form::kN}
                          : Tile{(2 * a + rank_) * Form::kM, b * Form::kN};
  }
  __device__ std::uint32_t y_of(std::uint32_t stage) const {
    return stages_ + stage * Form::kStageBytes + Form::kXParts * Form::kM * Form::kRowBytes;
  }

  // By one thread: all stages of this block's tiles.
  __device__ void bring() const {
    WideTurn<Form::kStages> turn;
    for (std::uint32_t pair = blockIdx.x / 2; pair < pairs_; pair += gridDim.x / 2) {
      const Tile own = tile(pair);
      for (std::uint32_t step = 0; step < steps_; ++step, turn.go_on()) {
        const std::uint32_t full = full_ + 8 * turn.stage, column = step * Form::kDepth;
        wait_at(free_ + 8 * turn.stage, turn.parity ^ 1);
        announce(full, Form::kStageBytes);
#pragma unroll
        for (std::uint32_t part = 0; part < Form::kXParts; ++part)
          bring_side<Form::kM, Form::kSharesX>(
              stages_ + turn.stage * Form::kStageBytes + part * Form::kM * Form::kRowBytes,
              part == 0 ? sides_.x[0] : sides_.x[1], column, own.m, full);
#pragma unroll
        for (std::uint32_t part = 0; part < Form::kYParts; ++part)
          bring_side<Form::kN, !Form::kSharesX>(y_of(turn.stage) + part * Form::kN * Form::kRowBytes,
                                                part == 0 ? sides_.y[0] : sides_.y[1], column, own.n, full);
      }
    }
  }

  template <std::uint32_t kRows, bool kShared>
  __device__ void bring_side(std::uint32_t to, const void* map, std::uint32_t column, std::uint32_t row,
                             std::uint32_t full) const {
    if constexpr (kShared) {
      const std::uint32_t half = rank_ * (kRows / 2);
      copy_box_to_pair(to + half * Form::kRowBytes, map, column, row + half, full);
    } else {
      copy_box(to, map, column, row, full);
    }
  }

  template <class Result>
  __device__ void multiply(const Result& result) const {
    const std::uint32_t group = threadIdx.x / Form::kGroup - 1;
    Sums few = {};   // of the tensor cores, since the last fold
    Sums sums = {};  // before that
    WideTurn<Form::kStages> turn;
    for (std::uint32_t pair = blockIdx.x / 2; pair < pairs_; pair += gridDim.x / 2) {
      if constexpr (Form::kFoldSteps > 0) {
#pragma unroll
        for (std::uint32_t i = 0; i < kSums; ++i) sums[i] = 0;
      }
      bool holds_last = false;  // the stage before this one may still be read
      for (std::uint32_t step = 0; step < steps_; ++step, turn.go_on()) {
        wait_at(full_ + 8 * turn.stage, turn.parity);
        const std::uint32_t x = stages_ + turn.stage * Form::kStageBytes + group * 64 * Form::kRowBytes;
        constexpr std::uint32_t kHalves = Form::kFoldSteps == 1 ? 2 : 1;
        constexpr std::uint32_t kFoldStages = Form::kFoldSteps < 2 ? 1 : Form::kFoldSteps / 2;
        const bool goes_on = Form::kFoldSteps == 0 ? step > 0 : kHalves == 1 && step % kFoldStages != 0;
        const bool folds = Form::kFoldSteps > 0 && (step + 1) % kFoldStages == 0;
#pragma unroll
        for (std::uint32_t half = 0; half < kHalves; ++half) {
          multiply_depth<Form::kDepth / 16 / kHalves>(few, x, y_of(turn.stage), half, goes_on);
          if (kHalves == 1) {
            wait_for_multiplications<1>();
            if (holds_last) release(turn.stage_before());
            holds_last = true;
          }
          if (kHalves == 2 || folds || step + 1 == steps_) {
            wait_for_multiplications<0>();
            if (half + 1 == kHalves) release(turn.stage);
            holds_last = false;
            if constexpr (Form::kFoldSteps > 0) {
#pragma unroll
              for (std::uint32_t i = 0; i < kSums; ++i) sums[i] += few[i];
            }
          }
        }
      }
      const Tile own = tile(pair);
      if constexpr (Form::kFoldSteps > 0) {
        give(own, group, sums, result);
      } else {
        give(own, group, few, result);
      }
    }
  }

  // The products of some of a stage's depth, those of small parts first.
  template <std::uint32_t kTimes>
  __device__ static void multiply_depth(Sums& few, std::uint32_t x, std::uint32_t y, std::uint32_t half,
                                        bool goes_on) {
    begin_multiplications();
#pragma unroll
    for (std::uint32_t i = 0; i < kTimes; ++i) {
      const std::uint32_t at = (half * kTimes + i) * 32;  // bytes of 16 numbers
      const auto add = [&](std::uint32_t x_part, std::uint32_t y_part, bool adds) {
        Multiplication<Number, Form::kN>::run(few, side_at(x + x_part * Form::kM * Form::kRowBytes + at),
                                              side_at(y + y_part * Form::kN * Form::kRowBytes + at), adds);
      };
      if constexpr (Form::kXParts == 2) add(1, 0, goes_on || i > 0);
      if constexpr (Form::kYParts == 2) add(0, 1, true);
      add(0, 0, Form::kXParts == 2 || goes_on || i > 0);
    }
    end_multiplications();
  }

  // Both blocks copy to the stage again when all groups of both are done with it.
  __device__ void release(std::uint32_t stage) const {
    if (threadIdx.x % Form::kGroup < 2) arrive_there(free_ + 8 * stage, threadIdx.x % Form::kGroup);
  }

  template <class Result>
  __device__ static void give(const Tile& own, std::uint32_t group, const Sums& sums, const Result& result) {
    const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x % Form::kGroup / 32;
    const bool odd = lane % 2 == 1;
    const std::uint32_t m = own.m + 64 * group + 16 * warp + lane / 4;
    const std::uint32_t n = own.n + (odd ? 8 : 0) + lane % 4 / 2 * 4;
    auto coming = result.column(n);
#pragma unroll
    for (std::uint32_t j = 0; j < Form::kN / 16; ++j) {
      const auto column = coming;
      if (j + 1 < Form::kN / 16) coming = result.column(n + 16 * (j + 1));
#pragma unroll
      for (std::uint32_t lower = 0; lower < 2; ++lower) {
        const std::uint32_t at = 8 * j + 2 * lower;
        result(m + 8 * lower, n + 16 * j, column,
               four_columns(odd, {sums[at], sums[at + 1]}, {sums[at + 4], sums[at + 5]}));
      }
    }
  }

  const WideSides sides_;
  const std::uint32_t stages_, full_, free_, steps_, rank_;
  std::uint32_t across_, pairs_;
};

}  // namespace pinion::codec::cuda
