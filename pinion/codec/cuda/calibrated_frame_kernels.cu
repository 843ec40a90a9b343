// The state of a calibrated stream after a frame, and the frame out of its parts (docs/format.md §2, §12.1).

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/frame_fields.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kLayoutThreads = 1024, kWarps = 4;
static_assert(kMostIndexChunks <= kLayoutThreads, "a thread for each chunk");
constexpr float kLargestY = 0x1p60f;

// y = prediction + step * index (docs/format.md §12.4). A block for a component and some of its places.
__global__ void __launch_bounds__(kThreads) advance(AdvanceJob job) {
  const IndexGrid& grid = *job.grid;
  const std::uint32_t k = blockIdx.y, place = blockIdx.x * kThreads + threadIdx.x;
  if (place >= job.rows) return;
  std::uint32_t band = 0;
  while (band + 1 < grid.bands && place >= grid.band_ends[band]) ++band;
  const std::uint32_t row = job.row_at == nullptr ? place : job.row_at[place];
  const std::size_t at = std::size_t{k} * job.pitch;
  const bool said = job.classes[k * grid.bands + band] != kNoIndexClass;
  const float index = said ? static_cast<float>(job.indices[at + place]) : 0.0f;
  const float y = job.prediction[at + row] + job.steps[band] * index;
  job.step->next_y[at + row] = y != y ? 0.0f : fminf(fmaxf(y, -kLargestY), kLargestY);
}

__device__ std::byte* put_bytes(std::byte* to, const std::uint8_t* from, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) to = put(to, from[i]);
  return to;
}

// Bytes of a chunk size and of the chunk in one number, to be summed at once.
constexpr std::uint32_t kSizeShift = 40;
constexpr std::uint64_t kDataMask = (std::uint64_t{1} << kSizeShift) - 1;

__global__ void __launch_bounds__(kLayoutThreads) lay_out_frame(CalibratedEncodeJob job) {
  __shared__ std::uint64_t sums[kLayoutThreads / 32];
  __shared__ std::uint64_t sizes_at;
  const CalibratedStep& step = *job.predict.step;
  const IndexGrid& grid = *job.grid;
  const BodyParts& body = *job.body;
  const bool mine = threadIdx.x < grid.chunks();
  const std::uint32_t own = mine ? job.coding.sizes[threadIdx.x] : 0;
  std::uint64_t total = 0;
  const std::uint64_t before =
      block_sum_before(mine ? std::uint64_t{varint_bytes(own)} << kSizeShift | own : 0, sums, total);
  if (threadIdx.x == 0) {
    const bool mapped = grid.bands > 1;
    const std::uint32_t map_bytes =
        mapped && *job.map_class != kNoIndexClass ? job.coding.sizes[kMostIndexChunks] : 0;
    const std::uint64_t grid_bytes = 1 + varint_bytes(grid.tile_rows) + varint_bytes(grid.group_components);
    const std::uint64_t body_bytes =
        body.first_bytes + (mapped ? varint_bytes(map_bytes) + map_bytes : 0) +
        (body.scale_bytes > 0 ? varint_bytes(body.scale_bytes) + body.scale_bytes : 0) + grid_bytes +
        (total >> kSizeShift) + (total & kDataMask);
    std::byte* to = put_varint(put_bytes(job.frame, step.head, step.head_bytes), body_bytes);
    to = put_bytes(to, step.calibration, sizeof(step.calibration));
    for (std::uint32_t i = 0; i < 4 && step.has_previous; ++i) to = put(to, step.previous >> (8 * i));
    const auto head_bytes = static_cast<std::uint64_t>(to - job.frame);
    to = put_bytes(to, body.first, body.first_bytes);
    if (mapped) {
      to = put_varint(to, map_bytes);
      job.places[kMostIndexChunks] = static_cast<std::uint64_t>(to - job.frame);
      to += map_bytes;
    }
    if (body.scale_bytes > 0)
      to = put_bytes(put_varint(to, body.scale_bytes), reinterpret_cast<const std::uint8_t*>(job.scale_words),
                     body.scale_bytes);
    to = put(to, 31 - __clz(static_cast<int>(grid.lanes)));
    to = put_varint(put_varint(to, grid.tile_rows), grid.group_components);
    sizes_at = static_cast<std::uint64_t>(to - job.frame);
    job.outcome->frame.begin = 0;
    job.outcome->frame.frame_bytes = head_bytes + body_bytes + 4;
  }
  __syncthreads();
  if (!mine) return;
  put_varint(job.frame + sizes_at + (before >> kSizeShift), own);
  job.places[threadIdx.x] = sizes_at + (total >> kSizeShift) + (before & kDataMask);
}

// A warp for each chunk, and one for the map.
__global__ void __launch_bounds__(kWarps * 32) move_chunks(CalibratedEncodeJob job) {
  const std::uint32_t lane = threadIdx.x % 32, chunk = blockIdx.x * kWarps + threadIdx.x / 32;
  const IndexGrid& grid = *job.grid;
  const bool is_map = chunk == kMostIndexChunks;
  if (is_map ? grid.bands == 1 || *job.map_class == kNoIndexClass : chunk >= grid.chunks()) return;
  ChunkRoom room{0, std::size_t{job.predict.rows} * kIndexSlotBytes + kChunkSlotBytes};
  if (!is_map) room = room_of_chunk(grid, job.predict.rows, chunk);
  const std::uint32_t bytes = job.coding.sizes[chunk];
  const std::byte* const slot = is_map ? job.coding.lead_slot : job.coding.slots;
  move_bytes(job.frame + job.places[chunk], bytes, lane,
             SlotBytes{slot + room.begin + room.bytes - 16 - bytes});
}

}  // namespace

void launch_advance(const AdvanceJob& job, cudaStream_t stream) {
  advance<<<dim3((job.rows - 1) / kThreads + 1, job.components), kThreads, 0, stream>>>(job);
}

void launch_calibrated_assembly(const CalibratedEncodeJob& job, cudaStream_t stream) {
  lay_out_frame<<<1, kLayoutThreads, 0, stream>>>(job);
  const std::uint32_t chunks = kMostIndexChunks + (job.order != nullptr ? 1 : 0);
  move_chunks<<<(chunks - 1) / kWarps + 1, kWarps * 32, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
