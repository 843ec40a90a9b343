// A frame of mode 2 out of its parts (docs/format.md §2, §6.1, §6.3).

#include "pinion/codec/cuda/chunk_sizes.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kLayoutThreads = 1024, kMoveWarps = 4;
static_assert(kMostIndexChunks <= kLayoutThreads, "a thread for each chunk");

// Where the parts of a frame begin, in it.
struct FramePlaces {
  std::uint64_t basis, body, params, sizes;
  bool fits;
};

// One thread's: the fields that are numbers, and where the others go.
__device__ FramePlaces put_numbers(const FidelityEncodeJob& job, std::uint64_t sizes_and_chunks) {
  const FidelityStep& step = *job.step;
  const IndexGrid& grid = *job.grid;
  const std::uint64_t body_bytes = job.fields->first_bytes + job.fields->param_bytes + 1 +
                                   varint_bytes(grid.tile_rows) + varint_bytes(grid.group_components) +
                                   sizes_and_chunks;
  FramePlaces places;
  std::byte* to = put_varint(job.frame + step.head_bytes, body_bytes);
  places.basis = static_cast<std::uint64_t>(to - job.frame);
  if (job.has_basis) to += sizeof(step.basis);
  for (std::uint32_t i = 0; i < 4 && job.references > 0; ++i) to = put(to, step.previous >> (8 * i));
  places.body = static_cast<std::uint64_t>(to - job.frame);
  const std::uint64_t frame_bytes = places.body + body_bytes + 4;
  places.fits = frame_bytes <= job.frame_room;
  job.outcome->frame.begin = 0;
  job.outcome->frame.frame_bytes = places.fits ? frame_bytes : step.head_bytes + 4;
  if (!places.fits) {
    job.outcome->refusal |= kFrameTooLarge;
    return places;
  }
  to += job.fields->first_bytes;
  places.params = static_cast<std::uint64_t>(to - job.frame);
  to += job.fields->param_bytes;
  to = put(to, 31 - __clz(static_cast<int>(grid.lanes)));
  to = put_varint(put_varint(to, grid.tile_rows), grid.group_components);
  places.sizes = static_cast<std::uint64_t>(to - job.frame);
  return places;
}

// Bytes by all threads of a block, each one's own first.
template <class Byte>
__device__ void put_bytes(std::byte* to, const Byte* from, std::uint32_t count) {
  for (std::uint32_t i = threadIdx.x; i < count; i += kLayoutThreads) to[i] = static_cast<std::byte>(from[i]);
}

__global__ void __launch_bounds__(kLayoutThreads) lay_out_fidelity(FidelityEncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint64_t sums[kLayoutThreads / 32];
  __shared__ FramePlaces places;
  const FidelityStep& step = *job.step;
  const bool mine = threadIdx.x < job.grid->chunks();
  const std::uint32_t own = mine ? job.coding.sizes[threadIdx.x] : 0;
  std::uint64_t total = 0;
  const std::uint64_t before = block_sum_before(mine ? both_bytes(own) : std::uint64_t{0}, sums, total);
  if (threadIdx.x == 0) places = put_numbers(job, (total >> kSizeShift) + (total & kDataMask));
  __syncthreads();
  put_bytes(job.frame, step.head, step.head_bytes);
  if (!places.fits) return;
  if (job.has_basis) put_bytes(job.frame + places.basis, step.basis, sizeof(step.basis));
  put_bytes(job.frame + places.body, job.fields->first, job.fields->first_bytes);
  put_bytes(job.frame + places.params, reinterpret_cast<const std::byte*>(job.param_words),
            job.fields->param_bytes);
  if (!mine) return;
  put_varint(job.frame + places.sizes + (before >> kSizeShift), own);
  job.places[threadIdx.x] = places.sizes + (total >> kSizeShift) + (before & kDataMask);
}

// A block for each chunk, a part for each warp.
__global__ void __launch_bounds__(kMoveWarps * 32) move_fidelity_chunks(FidelityEncodeJob job) {
  wait_for_earlier_work();
  const std::uint32_t lane = threadIdx.x % 32, chunk = blockIdx.x;
  if (chunk >= job.grid->chunks() || (job.outcome->refusal & kFrameTooLarge) != 0) return;
  const ChunkRoom room = room_of_chunk(*job.grid, job.rows, chunk, job.coding.front_count);
  const std::uint32_t bytes = job.coding.sizes[chunk];
  const std::uint32_t part = (bytes / kMoveWarps / 4 + 1) * 4, begin = min(threadIdx.x / 32 * part, bytes);
  move_bytes(job.frame + job.places[chunk] + begin, min(part, bytes - begin), lane,
             SlotBytes{job.coding.slots + room.begin + room.bytes - 16 - bytes + begin});
}

}  // namespace

void launch_fidelity_assembly(const FidelityEncodeJob& job, cudaStream_t stream) {
  start_behind(lay_out_fidelity, 1, kLayoutThreads, 0, stream, job);
  start_behind(move_fidelity_chunks, kMostIndexChunks, kMoveWarps * 32, 0, stream, job);
}

}  // namespace pinion::codec::cuda
