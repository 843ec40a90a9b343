#pragma once
// Modes as they stand in a frame, and the sizes of an encoder's chunks as they are summed.

#include "pinion/codec/cuda/frame_fields.cuh"
#include "pinion/codec/cuda/lossless_jobs.h"

namespace pinion::codec::cuda {

inline constexpr std::uint8_t kRawMode = 0, kLosslessMode = 1, kBoundedMode = 3;  // docs/format.md §2.1

// Bytes of a chunk size and of the chunk in one number, to be summed at once.
inline constexpr std::uint32_t kSizeShift = 40;
inline constexpr std::uint64_t kDataMask = (std::uint64_t{1} << kSizeShift) - 1;

__device__ inline std::uint64_t both_bytes(std::uint32_t chunk_bytes) {
  return std::uint64_t{varint_bytes(chunk_bytes)} << kSizeShift | chunk_bytes;
}

constexpr std::uint32_t groups_of(const EncodeJob& job) { return (job.chunks - 1) / kGroupChunks + 1; }

}  // namespace pinion::codec::cuda
