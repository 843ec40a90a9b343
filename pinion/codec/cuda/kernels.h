#pragma once
// The launches of the CUDA kernels, each asynchronous on the stream that it is given. They allocate nothing
// and report nothing: ask cudaGetLastError() behind a series of them. `stream` is a cudaStream_t.

#include <cuda_runtime.h>

#include "pinion/codec/cuda/decode_jobs.h"

namespace pinion::codec::cuda {

// Mode 3: what comes before the kernels of mode 1, which then code the numbers.
void launch_numbers(const EncodeJob& job, cudaStream_t stream);
// Mode 1. Everything from the tensor to the frame without its checksum; memory that begins as 0 is cleared.
void launch_statistics(const EncodeJob& job, cudaStream_t stream);
void launch_choices(const EncodeJob& job, cudaStream_t stream);
void launch_encoding(const EncodeJob& job, cudaStream_t stream);
void launch_assembly(const EncodeJob& job, cudaStream_t stream);

// From a frame of mode 1 or 3 to the tensor. The last kernel tells the host.
void launch_decoding(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream);
// Once for each device, before that: lets blocks have that much.
cudaError_t allow_shared_memory(std::size_t bytes);

// The checksum of the frame, written behind it and into the outcome. No frame is larger than `most_bytes`.
void launch_checksum(const EncodeJob& job, std::uint64_t most_bytes, cudaStream_t stream);
// Compares the one that stands at the end of the frame, which may begin anywhere. With `outcome_on_host` this
// is the last kernel of a frame and tells the host; it is null otherwise.
void launch_verification(const CrcTables& tables, const std::byte* frame, std::uint64_t frame_bytes,
                         DecodeOutcome* outcome, DecodeOutcome* outcome_on_host, cudaStream_t stream);

// Modes 4 and 5 (docs/format.md §10, §11).
struct GroupJob {
  const std::byte* from = nullptr;  // encoding: the tensor; decoding: the body
  std::byte* to = nullptr;
  std::uint64_t rows = 0;
  std::uint32_t channels = 0;
  std::uint32_t groups = 0;  // of a row
  std::uint8_t dtype = 0;
  bool is_int4 = false;
  std::uint32_t* flag = nullptr;  // set if an element is not finite, or a scale or padding impossible
};
void launch_group_encoding(const GroupJob& job, cudaStream_t stream);
void launch_group_decoding(const GroupJob& job, cudaStream_t stream);

}  // namespace pinion::codec::cuda
