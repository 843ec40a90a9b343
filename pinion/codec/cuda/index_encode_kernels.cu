// Chunks of indices, a warp for each (docs/format.md §6.3): from the last operation to the first.

#include "pinion/codec/cuda/index_coding_jobs.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kWarps = 2;  // of a block: few, so that chunks spread over the device
constexpr std::uint32_t kBatch = 8;  // values of a lane that are loaded at once, while others are coded

// The values of a run and what codes them.
struct Run {
  const std::int32_t* values;
  std::uint32_t count, lanes;
  const uint2* entries;
  std::int32_t half;
  std::uint32_t shift;
};

__device__ Run run_of(const IndexCodingTables& tables, std::uint32_t code, const std::int32_t* values,
                      std::uint32_t count, std::uint32_t lanes) {
  const std::uint32_t table = table_of_class(code);
  return {values,
          count,
          lanes,
          tables.entries + table * kIndexSymbols,
          __ldg(tables.halves + table),
          shift_of_class(code)};
}

// Those of the steps before `end`, the last one first; 0 where there is none.
__device__ void fetch(const Run& run, std::uint32_t end, std::uint32_t lane, std::int32_t (&to)[kBatch]) {
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    const std::uint32_t at = (end - 1 - i) * run.lanes + lane;
    to[i] = i < end && lane < run.lanes && at < run.count ? __ldg(run.values + at) : 0;
  }
}

__device__ std::int32_t high_of(const Run& run, std::int32_t value) {
  return run.shift == 0 ? value : (value + (1 << (run.shift - 1))) >> run.shift;
}

__device__ bool is_beyond(const Run& run, std::int32_t high) { return high > run.half || -high > run.half; }

// What stands behind the symbol of one value of each active lane: plain bits, and those of escapes.
__device__ void encode_rest(const Run& run, std::uint32_t lane, bool active, std::int32_t value,
                            WarpRansEncoder& coder) {
  const std::int32_t high = high_of(run, value), size = high < 0 ? -high : high;
  const bool escapes = active && is_beyond(run, high);
  if (__any_sync(kAllLanes, escapes)) {
    const std::uint32_t excess = escapes ? static_cast<std::uint32_t>(size - run.half) : 1u;
    const auto length = static_cast<std::uint32_t>(31 - __clz(static_cast<int>(excess)));
    const std::uint32_t low = excess & ((1u << length) - 1);
    const bool is_long = escapes && length > 16;
    coder.put_bits(lane, is_long, low >> 16, is_long ? length - 16 : 0);
    coder.put_bits(lane, escapes, low & 0xffff, min(length, 16u));
    coder.put_bits(lane, escapes, std::uint32_t{high < 0} | length << 1, 6);
  }
  if (run.shift > 0)
    coder.put_bits(lane, active,
                   static_cast<std::uint32_t>(value + (1 << (run.shift - 1))) & ((1u << run.shift) - 1),
                   run.shift);
}

// Whole batches without escapes: no step waits for what another one decides.
template <bool kShifted>
__device__ void encode_batch(const Run& run, std::uint32_t lane, const std::int32_t (&values)[kBatch],
                             const uint2 (&entries)[kBatch], WarpRansEncoder& coder) {
  const std::uint32_t bias = kShifted ? 1u << (run.shift - 1) : 0,
                      mask = kShifted ? (1u << run.shift) - 1 : 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    if constexpr (kShifted)
      coder.put_bits(lane, true, (static_cast<std::uint32_t>(values[i]) + bias) & mask, run.shift);
    coder.put(lane, true, entries[i].x, entries[i].y);
  }
}

__device__ void encode_run(const Run& run, std::uint32_t lane, WarpRansEncoder& coder) {
  std::uint32_t end = (run.count - 1) / run.lanes + 1;
  std::int32_t next[kBatch];
  fetch(run, end, lane, next);
  while (end > 0) {
    std::int32_t values[kBatch];
    uint2 entries[kBatch];
    bool beyond = false;
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      values[i] = next[i];
      const std::int32_t high = high_of(run, values[i]);
      const bool escapes = is_beyond(run, high);
      entries[i] = __ldg(run.entries + (escapes ? 2 * run.half + 1 : high + run.half));
      beyond = beyond || escapes;
    }
    const std::uint32_t batch = min(end, kBatch);
    if (end > kBatch) fetch(run, end - kBatch, lane, next);
    beyond = __any_sync(kAllLanes, beyond);
    if (!beyond && batch == kBatch && run.lanes == 32 && end * 32 <= run.count) {
      run.shift == 0 ? encode_batch<false>(run, lane, values, entries, coder)
                     : encode_batch<true>(run, lane, values, entries, coder);
    } else {
#pragma unroll
      for (std::uint32_t i = 0; i < kBatch; ++i) {
        if (i >= batch) break;
        const std::uint32_t at = (end - 1 - i) * run.lanes + lane;
        const bool active = lane < run.lanes && at < run.count;
        encode_rest(run, lane, active, values[i], coder);
        coder.put(lane, active, entries[i].x, entries[i].y);
      }
    }
    end -= batch;
  }
}

// All runs of a chunk.
__device__ void encode_chunk(const IndexEncodeJob& job, const IndexGrid& grid, std::uint32_t chunk,
                             std::uint32_t lane, WarpRansEncoder& coder) {
  const IndexMatrixOnDevice& matrix = job.matrix;
  const std::uint32_t first = chunk / grid.tiles * grid.group_components;
  const std::uint32_t first_row = chunk % grid.tiles * grid.tile_rows;
  const std::uint32_t end_row = min(first_row + grid.tile_rows, matrix.rows);
  for (std::uint32_t i = min(first + grid.group_components, grid.active); i-- > first;) {
    const std::uint32_t component = __ldg(matrix.active + i);
    for (std::uint32_t band = grid.bands; band-- > 0;) {
      const std::uint32_t begin = max(band == 0 ? 0u : grid.band_ends[band - 1], first_row);
      const std::uint32_t end = min(grid.band_ends[band], end_row);
      const std::uint32_t code = __ldg(matrix.classes + component * grid.bands + band);
      if (begin >= end || code == kNoIndexClass) continue;
      encode_run(run_of(job.tables, code, job.values + std::size_t{component} * matrix.pitch + begin,
                        end - begin, grid.lanes),
                 lane, coder);
    }
  }
  if (chunk == 0 && job.front != nullptr && *job.front_class != kNoIndexClass)
    encode_run(run_of(job.tables, *job.front_class, job.front, job.front_count, grid.lanes), lane, coder);
}

__global__ void __launch_bounds__(kWarps * 32) encode_index_chunks(IndexEncodeJob job) {
  wait_for_earlier_work();
  const std::uint32_t lane = threadIdx.x % 32, chunk = blockIdx.x * kWarps + threadIdx.x / 32;
  const IndexGrid& grid = *job.matrix.grid;
  const bool is_lead = chunk == kMostIndexChunks;
  if (!is_lead && chunk >= grid.chunks()) return;
  if (is_lead && (job.lead == nullptr || *job.lead_class == kNoIndexClass)) return;
  ChunkRoom room{0, std::size_t{job.matrix.rows} * kIndexSlotBytes + kChunkSlotBytes};
  if (!is_lead) room = room_of_chunk(grid, job.matrix.rows, chunk, job.front_count);
  std::byte* const slot = (is_lead ? job.lead_slot : job.slots) + room.begin;
  const auto end = static_cast<std::uint32_t>((room.bytes - 16) / 2);
  WarpRansEncoder coder{reinterpret_cast<std::uint16_t*>(slot), end};
  if (is_lead) {
    encode_run(run_of(job.tables, *job.lead_class, job.lead, job.matrix.rows, 1), lane, coder);
  } else {
    encode_chunk(job, grid, chunk, lane, coder);
  }
  coder.finish(lane, is_lead ? 1 : grid.lanes);
  if (lane == 0) job.sizes[chunk] = 2 * (end - coder.first);
}

}  // namespace

void launch_index_encoding(const IndexEncodeJob& job, cudaStream_t stream) {
  constexpr std::uint32_t kBlocks = kMostIndexChunks / kWarps;
  start_behind(encode_index_chunks, kBlocks + (job.lead != nullptr ? 1 : 0), kWarps * 32, 0, stream, job);
}

}  // namespace pinion::codec::cuda
