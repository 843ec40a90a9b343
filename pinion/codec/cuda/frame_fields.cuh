#pragma once
// Fields of a frame that kernels write, and the sizes of chunks as they are summed.

#include "pinion/codec/cuda/lossless_jobs.h"

namespace pinion::codec::cuda {

inline constexpr std::uint8_t kRawMode = 0, kLosslessMode = 1, kBoundedMode = 3;  // docs/format.md §2.1

__device__ inline std::uint32_t varint_bytes(std::uint64_t value) {
  std::uint32_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

__device__ inline std::byte* put(std::byte* to, std::uint32_t value) {
  *to = static_cast<std::byte>(value & 255);
  return to + 1;
}

__device__ inline std::byte* put_varint(std::byte* to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to = put(to, 0x80 | static_cast<std::uint32_t>(value & 0x7f));
  return put(to, static_cast<std::uint32_t>(value));
}

// Bytes of a chunk size and of the chunk in one number, to be summed at once.
inline constexpr std::uint32_t kSizeShift = 40;
inline constexpr std::uint64_t kDataMask = (std::uint64_t{1} << kSizeShift) - 1;

__device__ inline std::uint64_t both_bytes(std::uint32_t chunk_bytes) {
  return std::uint64_t{varint_bytes(chunk_bytes)} << kSizeShift | chunk_bytes;
}

constexpr std::uint32_t groups_of(const EncodeJob& job) { return (job.chunks - 1) / kGroupChunks + 1; }

}  // namespace pinion::codec::cuda
