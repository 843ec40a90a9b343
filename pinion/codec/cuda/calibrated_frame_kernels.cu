// A calibrated frame out of its parts (docs/format.md §2, §12.1).

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/frame_fields.cuh"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kLayoutThreads = 1024, kWarps = 4;
constexpr std::uint32_t kMovedParts = 4;  // of a chunk
static_assert(kMostIndexChunks <= kLayoutThreads, "a thread for each chunk");

// Bytes by all threads of a block, each one's own first.
__device__ void put_bytes(std::byte* to, const std::uint8_t* from, std::uint32_t count) {
  for (std::uint32_t i = threadIdx.x; i < count; i += kLayoutThreads) to[i] = static_cast<std::byte>(from[i]);
}

// Bytes of a chunk size and of the chunk in one number, to be summed at once.
constexpr std::uint32_t kSizeShift = 40;
constexpr std::uint64_t kDataMask = (std::uint64_t{1} << kSizeShift) - 1;

// Whether the frame says which band each row is in.
__device__ bool has_map(const CalibratedEncodeJob& job) {
  return job.row_at != nullptr && job.grid->bands > 1;
}

// Where the parts of a frame begin, in it.
struct FramePlaces {
  std::uint64_t id, body, scales, sizes;
};

// One thread's: the fields that are numbers, and where the others go.
__device__ FramePlaces put_numbers(const CalibratedEncodeJob& job, std::uint64_t sizes_and_chunks) {
  const CalibratedStep& step = *job.predict.step;
  const IndexGrid& grid = *job.grid;
  const std::uint32_t first_bytes = job.body->first_bytes, scale_bytes = job.body->scale_bytes;
  const bool mapped = has_map(job);
  const std::uint32_t map_bytes =
      mapped && *job.map_class != kNoIndexClass ? job.coding.sizes[kMostIndexChunks] : 0;
  const std::uint64_t body_bytes = first_bytes + (mapped ? varint_bytes(map_bytes) + map_bytes : 0) +
                                   (scale_bytes > 0 ? varint_bytes(scale_bytes) + scale_bytes : 0) + 1 +
                                   varint_bytes(grid.tile_rows) + varint_bytes(grid.group_components) +
                                   sizes_and_chunks;
  FramePlaces places;
  std::byte* to = put_varint(job.frame + step.head_bytes, body_bytes);
  places.id = static_cast<std::uint64_t>(to - job.frame);
  to += sizeof(step.calibration);
  for (std::uint32_t i = 0; i < 4 && step.has_previous; ++i) to = put(to, step.previous >> (8 * i));
  places.body = static_cast<std::uint64_t>(to - job.frame);
  to += first_bytes;
  if (mapped) {
    to = put_varint(to, map_bytes);
    job.places[kMostIndexChunks] = static_cast<std::uint64_t>(to - job.frame);
    to += map_bytes;
  }
  if (scale_bytes > 0) to = put_varint(to, scale_bytes);
  places.scales = static_cast<std::uint64_t>(to - job.frame);
  to += scale_bytes;
  to = put(to, 31 - __clz(static_cast<int>(grid.lanes)));
  to = put_varint(put_varint(to, grid.tile_rows), grid.group_components);
  places.sizes = static_cast<std::uint64_t>(to - job.frame);
  job.outcome->frame.begin = 0;
  job.outcome->frame.frame_bytes = places.body + body_bytes + 4;
  return places;
}

__global__ void __launch_bounds__(kLayoutThreads) lay_out_frame(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint64_t sums[kLayoutThreads / 32];
  __shared__ FramePlaces places;
  const CalibratedStep& step = *job.predict.step;
  const bool mine = threadIdx.x < job.grid->chunks();
  const std::uint32_t own = mine ? job.coding.sizes[threadIdx.x] : 0;
  std::uint64_t total = 0;
  const std::uint64_t before =
      block_sum_before(mine ? std::uint64_t{varint_bytes(own)} << kSizeShift | own : 0, sums, total);
  if (threadIdx.x == 0) places = put_numbers(job, (total >> kSizeShift) + (total & kDataMask));
  __syncthreads();
  put_bytes(job.frame, step.head, step.head_bytes);
  put_bytes(job.frame + places.id, step.calibration, sizeof(step.calibration));
  put_bytes(job.frame + places.body, job.body->first, job.body->first_bytes);
  put_bytes(job.frame + places.scales, reinterpret_cast<const std::uint8_t*>(job.scale_words),
            job.body->scale_bytes);
  if (!mine) return;
  put_varint(job.frame + places.sizes + (before >> kSizeShift), own);
  job.places[threadIdx.x] = places.sizes + (total >> kSizeShift) + (before & kDataMask);
}

// A warp for each part of a chunk, and of the map behind them.
__global__ void __launch_bounds__(kWarps * 32) move_chunks(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  const std::uint32_t lane = threadIdx.x % 32, warp = blockIdx.x * kWarps + threadIdx.x / 32;
  const std::uint32_t chunk = warp / kMovedParts, part = warp % kMovedParts;
  const IndexGrid& grid = *job.grid;
  const bool is_map = chunk == kMostIndexChunks;
  if (is_map ? !has_map(job) || *job.map_class == kNoIndexClass : chunk >= grid.chunks()) return;
  ChunkRoom room{0, std::size_t{job.predict.rows} * kIndexSlotBytes + kChunkSlotBytes};
  if (!is_map) room = room_of_chunk(grid, job.predict.rows, chunk);
  const std::uint32_t bytes = job.coding.sizes[chunk], part_bytes = (bytes - 1) / kMovedParts + 1;
  const std::uint32_t first = min(part * part_bytes, bytes);
  const std::byte* const slot = is_map ? job.coding.lead_slot : job.coding.slots;
  move_bytes(job.frame + job.places[chunk] + first, min(part_bytes, bytes - first), lane,
             SlotBytes{slot + room.begin + room.bytes - 16 - bytes + first});
}

}  // namespace

void launch_calibrated_assembly(const CalibratedEncodeJob& job, cudaStream_t stream) {
  start_behind(lay_out_frame, 1, kLayoutThreads, 0, stream, job);
  const std::uint32_t chunks = kMostIndexChunks + (job.row_at != nullptr ? 1 : 0);
  start_behind(move_chunks, (chunks * kMovedParts - 1) / kWarps + 1, kWarps * 32, 0, stream, job);
}

}  // namespace pinion::codec::cuda
