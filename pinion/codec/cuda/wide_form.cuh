#pragma once
// How a kernel cuts a wide product, and what that is made of: see wide_product.cuh.

#include <cstdint>

namespace pinion::codec::cuda {

// As ProductForm; a pair of blocks has the same rows of x, or of y.
template <std::uint32_t kN_, std::uint32_t kXParts_, std::uint32_t kYParts_, std::uint32_t kFoldSteps_,
          std::uint32_t kStages_, bool kSharesX_>
struct WideForm {
  static constexpr std::uint32_t kM = 128, kN = kN_, kXParts = kXParts_, kYParts = kYParts_;
  static constexpr std::uint32_t kFoldSteps = kFoldSteps_, kStages = kStages_;
  static constexpr bool kSharesX = kSharesX_;
  static constexpr std::uint32_t kGroup = 128, kGroups = kM / 64;  // threads that multiply together
  static constexpr std::uint32_t kThreads = (1 + kGroups) * kGroup;
  static constexpr std::uint32_t kDepth = 64, kRowBytes = 2 * kDepth;  // of a stage
  static constexpr std::uint32_t kStageBytes = (kXParts * kM + kYParts * kN) * kRowBytes;
  static constexpr std::uint32_t kAlignment = 1024;
  static constexpr std::uint32_t kSharedBytes = kStages * kStageBytes + kAlignment + 16 * kStages;
  // Rows that a copy brings: half of a side that is shared.
  static constexpr std::uint32_t kXBox = kSharesX ? kM / 2 : kM, kYBox = kSharesX ? kN : kN / 2;
  static_assert(kN % 16 == 0 && kYBox % 8 == 0 &&
                (kFoldSteps == 0 || kFoldSteps == 1 || kFoldSteps % 2 == 0));
};

// A stage that is in use: which, and the parity of its turn.
template <std::uint32_t kStages>
struct WideTurn {
  std::uint32_t stage = 0, parity = 0;
  __device__ void go_on() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
  __device__ std::uint32_t stage_before() const { return stage == 0 ? kStages - 1 : stage - 1; }
};

// What a product is made of: maps of both sides' parts, their boxes as the form has them.
struct WideSides {
  const void *x[2], *y[2];
  std::uint32_t x_rows, y_rows, depth;
};

// Two neighbouring lanes have two sums each of eight columns, twice: `left` and, behind them, `right`. The
// even lane gets the four of the left ones, the odd one those of the right ones.
__device__ inline float4 four_columns(bool odd, float2 left, float2 right) {
  const float2 sent = odd ? left : right;
  const float2 other =
      make_float2(__shfl_xor_sync(0xffffffffu, sent.x, 1), __shfl_xor_sync(0xffffffffu, sent.y, 1));
  return odd ? make_float4(other.x, other.y, right.x, right.y)
             : make_float4(left.x, left.y, other.x, other.y);
}

}  // namespace pinion::codec::cuda
