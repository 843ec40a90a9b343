#pragma once
// How an encoder on a device cuts its indices (docs/format.md §6.3).

#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/cuda/magnitude_bins.h"

namespace pinion::codec::cuda {

// How indices are to be cut: more chunks are coded sooner, one costs two bytes a lane.
struct GridWish {
  float bytes_per_chunk;
  std::uint32_t tiles = 1;  // at least, where there are that many chunks
};

// Lanes and chunks for so many bytes of indices.
__device__ inline void cut_grid(IndexGrid& grid, std::uint32_t rows, float bytes, GridWish wish) {
  constexpr float kBytesPerLane = 64;
  const std::uint32_t active = max(1u, grid.active);
  const auto wanted = static_cast<std::uint32_t>(
      fminf(fmaxf(bytes / wish.bytes_per_chunk, 1), static_cast<float>(kMostIndexChunks)));
  const std::uint32_t groups = min(max(1u, wanted / wish.tiles), active);
  const std::uint32_t tiles = min(wanted / groups, rows);
  const float per_chunk = bytes / static_cast<float>(groups * tiles);
  const auto lanes = static_cast<std::uint32_t>(fminf(fmaxf(per_chunk / kBytesPerLane, 1), 32));
  grid.lanes = 1u << floor_log2(lanes);
  grid.group_components = (active - 1) / groups + 1;
  grid.tile_rows = (rows - 1) / tiles + 1;
  grid.groups = (active - 1) / grid.group_components + 1;
  grid.tiles = (rows - 1) / grid.tile_rows + 1;
}

}  // namespace pinion::codec::cuda
