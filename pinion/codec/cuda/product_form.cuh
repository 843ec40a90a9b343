#pragma once
// What a product of matrices is made of, and how a kernel cuts it: see tile_product.cuh.

#include <cstdint>

namespace pinion::codec::cuda {

// One side of a product, in device memory: rows of `depth` numbers, aligned to 16 bytes as the pitch is.
template <class Number>
struct ProductSide {
  const Number* parts[2] = {};
  std::uint32_t rows = 0;
  std::uint32_t pitch = 0;  // numbers from a row to the next, a multiple of 8
};

template <class Number>
struct Product {
  ProductSide<Number> x, y;
  std::uint32_t depth = 0;  // a multiple of 8
};

// How a kernel cuts its product: tiles of kM by kN for a block, kWarpsM by kWarpsN warps. What tensor cores
// summed up is added to sums in binary32 after every kFoldSteps stages of kDepth numbers, since they cut off
// instead of rounding; 0: at the end only.
template <std::uint32_t kM_, std::uint32_t kN_, std::uint32_t kWarpsM_, std::uint32_t kWarpsN_,
          std::uint32_t kXParts_, std::uint32_t kYParts_, std::uint32_t kFoldSteps_, std::uint32_t kStages_,
          std::uint32_t kDepth_ = 32>
struct ProductForm {
  static constexpr std::uint32_t kM = kM_, kN = kN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_;
  static constexpr std::uint32_t kXParts = kXParts_, kYParts = kYParts_, kStages = kStages_;
  static constexpr std::uint32_t kFoldSteps = kFoldSteps_;
  static constexpr std::uint32_t kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr std::uint32_t kDepth = kDepth_;                     // of a stage
  static constexpr std::uint32_t kDepthChunks = kDepth / 8;            // 16 bytes each
  static constexpr std::uint32_t kRows = kXParts * kM + kYParts * kN;  // of a stage
  static constexpr std::uint32_t kStageBytes = kRows * kDepth * 2;
  static constexpr std::uint32_t kSharedBytes = kStages * kStageBytes;
  static constexpr std::uint32_t kRowBlocks = kM / kWarpsM / 16;    // of a warp, 16 rows each
  static constexpr std::uint32_t kColumnPairs = kN / kWarpsN / 16;  // of a warp, 16 columns each
  static_assert(kM % (16 * kWarpsM) == 0 && kN % (16 * kWarpsN) == 0 && kThreads % kDepthChunks == 0);
  static_assert(kDepth == 32 || kDepth == 64);
};

// Columns of y that one thread ends up with lie side by side: in a group of 16 rows of shared memory, row
// 8 j + 2 t + e holds column 4 t + 2 j + e.
__host__ __device__ constexpr std::uint32_t product_column(std::uint32_t row) {
  return (row & ~15u) + (row >> 1 & 3) * 4 + (row >> 3 & 1) * 2 + (row & 1);
}

}  // namespace pinion::codec::cuda
