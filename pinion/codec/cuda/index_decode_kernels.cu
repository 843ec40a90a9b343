// Chunks of indices to indices, a warp for each (docs/format.md §6.3). The frame is hostile: the host checked
// where chunks lie and how they are cut; whatever they hold is read within them.

#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kWarps = 2;  // of a block: each has the slots of its run's table in shared memory
constexpr std::int32_t kLargest = (1 << 26) - 1;
constexpr std::uint32_t kMostLength = 27;  // of what exceeds the alphabet

struct Run {
  std::int32_t* values;
  std::uint32_t count, lanes;
  const std::uint32_t* slots;  // of its table, in shared memory
  std::int32_t half;
  std::uint32_t shift;
};

// What exceeds the table: `high` becomes its value where lanes escape. False for a lane whose value is out of
// range.
__device__ bool decode_escapes(const Run& run, std::uint32_t lane, bool escapes, std::int32_t& high,
                               WarpRansDecoder& coder) {
  std::uint32_t head = 0, excess = 0, rest = 0;
  coder.take_bits(lane, escapes, 6, head);
  const std::uint32_t length = head >> 1;
  // One that is longer than any can be counts as out of range.
  const bool is_long = length > 16;
  coder.take_bits(lane, escapes, min(length, 16u), excess);
  if (__any_sync(kAllLanes, is_long))
    coder.take_bits(lane, is_long, is_long ? min(length - 16, 16u) : 0, rest);
  const auto size = static_cast<std::int32_t>(static_cast<std::uint32_t>(run.half) +
                                              ((1u << length) | excess | rest << 16));
  // So that nothing overflows below; what is just in range is looked at there.
  const bool fine = length <= kMostLength && size <= (kLargest >> run.shift) + 1;
  if (escapes) high = !fine ? 0 : (head & 1) != 0 ? -size : size;
  return !escapes || fine;
}

// The values of a step, of all lanes or of those that are active. `fine` becomes false if one is out of
// range: runs end by themselves, and a warp alone waits for each branch.
template <bool kShifted>
__device__ void decode_step(const Run& run, std::uint32_t lane, bool active, std::int32_t* to,
                            WarpRansDecoder& coder, bool& fine) {
  const std::uint32_t entry = run.slots[lane_slot(coder.state())], symbol = entry & 0xff;
  const std::uint32_t next = (entry >> 8 & 0xfff) * (coder.state() >> kLaneProbabilityBits) + (entry >> 20);
  coder.go_on(lane, active, next);
  std::int32_t value = static_cast<std::int32_t>(symbol) - run.half;
  const bool escapes = active && symbol == 2 * static_cast<std::uint32_t>(run.half) + 1;
  std::uint32_t low = 0;
  if (kShifted) coder.take_bits(lane, active, run.shift, low);
  if (__any_sync(kAllLanes, escapes)) fine = decode_escapes(run, lane, escapes, value, coder) && fine;
  if (kShifted) value = value * (1 << run.shift) + static_cast<std::int32_t>(low) - (1 << (run.shift - 1));
  // What a table has is in range for every class.
  fine = fine && (!escapes || (value <= kLargest && value >= -kLargest));
  if (active) *to = value;
}

template <bool kShifted>
__device__ bool decode_steps(const Run& run, std::uint32_t lane, WarpRansDecoder& coder) {
  bool fine = true;
  std::uint32_t first = 0;
  std::int32_t* to = run.values + lane;
  const std::uint32_t whole = run.lanes == 32 ? run.count / 32 * 32 : 0;
#pragma unroll 2
  for (; first < whole; first += 32, to += 32) decode_step<kShifted>(run, lane, true, to, coder, fine);
#pragma unroll 1
  for (; first < run.count; first += run.lanes, to += run.lanes)
    decode_step<kShifted>(run, lane, lane < run.lanes && first + lane < run.count, to, coder, fine);
  return __all_sync(kAllLanes, fine) != 0;
}

__device__ bool decode_run(const Run& run, std::uint32_t lane, WarpRansDecoder& coder) {
  return run.shift > 0 ? decode_steps<true>(run, lane, coder) : decode_steps<false>(run, lane, coder);
}

// Fills the warp's slots; nobody else uses them.
__device__ void load_slots(const IndexCodingTables& tables, std::uint32_t table, std::uint32_t lane,
                           std::uint32_t* slots) {
  __syncwarp();
  const auto* const from = reinterpret_cast<const uint4*>(tables.slots + std::size_t{table} * kIndexSlots);
#pragma unroll 16
  for (std::uint32_t i = lane; i < kIndexSlots / 4; i += 32)
    reinterpret_cast<uint4*>(slots)[i] = __ldg(from + i);
  __syncwarp();
}

__device__ bool decode_chunk(const IndexDecodeJob& job, std::uint32_t chunk, std::uint32_t lane,
                             std::uint32_t* slots) {
  const IndexMatrixOnDevice& matrix = job.matrix;
  const IndexGrid& grid = *matrix.grid;
  WarpRansDecoder coder;
  if (!coder.open(job.frame + job.places[chunk], job.sizes[chunk], grid.lanes, lane)) return false;
  const std::uint32_t first = chunk / grid.tiles * grid.group_components;
  const std::uint32_t first_row = chunk % grid.tiles * grid.tile_rows;
  const std::uint32_t end_row = min(first_row + grid.tile_rows, matrix.rows);
  std::uint32_t loaded = kNoIndexClass;
  if (chunk == 0 && job.front_class != kNoIndexClass) {
    load_slots(job.tables, loaded = table_of_class(job.front_class), lane, slots);
    const Run run{job.front,
                  job.front_count,
                  grid.lanes,
                  slots,
                  __ldg(job.tables.halves + loaded),
                  shift_of_class(job.front_class)};
    if (!decode_run(run, lane, coder)) return false;
  }
  for (std::uint32_t i = first; i < min(first + grid.group_components, grid.active); ++i) {
    const std::uint32_t component = __ldg(matrix.active + i);
    for (std::uint32_t band = 0; band < grid.bands; ++band) {
      const std::uint32_t begin = max(band == 0 ? 0u : grid.band_ends[band - 1], first_row);
      const std::uint32_t end = min(grid.band_ends[band], end_row);
      const std::uint32_t code = __ldg(matrix.classes + component * grid.bands + band);
      if (begin >= end || code == kNoIndexClass) continue;
      const std::uint32_t table = table_of_class(code);
      if (table != loaded) load_slots(job.tables, loaded = table, lane, slots);
      const Run run{job.values + std::size_t{component} * matrix.pitch + begin,
                    end - begin,
                    grid.lanes,
                    slots,
                    __ldg(job.tables.halves + table),
                    shift_of_class(code)};
      if (!decode_run(run, lane, coder)) return false;
    }
  }
  return coder.ends_cleanly();
}

__global__ void __launch_bounds__(kWarps * 32) decode_index_chunks(IndexDecodeJob job) {
  __shared__ std::uint32_t slots[kWarps][kIndexSlots];
  const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::uint32_t chunk = blockIdx.x * kWarps + warp;
  if (chunk >= job.chunks) return;
  if (!decode_chunk(job, chunk, lane, slots[warp])) *job.broken = 1;
}

}  // namespace

void launch_index_decoding(const IndexDecodeJob& job, cudaStream_t stream) {
  if (job.chunks == 0) return;
  decode_index_chunks<<<(job.chunks - 1) / kWarps + 1, kWarps * 32, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
