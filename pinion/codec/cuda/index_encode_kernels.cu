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

__device__ std::int32_t bias_of(const Run& run) { return run.shift == 0 ? 0 : 1 << (run.shift - 1); }

// How far a value is beyond the table, as it is written.
struct Excess {
  std::uint32_t low, length;
  bool negative, is_there;

  __device__ Excess(const Run& run, std::uint32_t biased) {
    const std::int32_t high = static_cast<std::int32_t>(biased) >> run.shift, size = high < 0 ? -high : high;
    negative = high < 0;
    is_there = size > run.half;
    const std::uint32_t excess = is_there ? static_cast<std::uint32_t>(size - run.half) : 1u;
    length = static_cast<std::uint32_t>(31 - __clz(static_cast<int>(excess)));
    low = excess & ((1u << length) - 1);
  }

  __device__ void put(std::uint32_t lane, WarpRansEncoder& coder) const {
    const bool is_long = is_there && length > 16;
    if (__any_sync(kAllLanes, is_long)) coder.put_bits(lane, is_long, low >> 16, is_long ? length - 16 : 0);
    coder.put_bits(lane, is_there, low & 0xffff, min(length, 16u));
    coder.put_bits(lane, is_there, std::uint32_t{negative} | length << 1, 6);
  }
};

// The steps from `end` down to `begin`, one by one, for any number of lanes. Not inlined: few steps need it,
// and a warp alone waits for its instructions.
__device__ __noinline__ WarpRansEncoder encode_steps(Run run, std::uint32_t begin, std::uint32_t end,
                                                     std::uint32_t lane, WarpRansEncoder coder) {
#pragma unroll 1
  while (end > begin) {
    const std::uint32_t at = --end * run.lanes + lane;
    const bool active = lane < run.lanes && at < run.count;
    const std::int32_t value = (active ? __ldg(run.values + at) : 0) + bias_of(run);
    const auto biased = static_cast<std::uint32_t>(active ? value : bias_of(run));
    const Excess excess(run, biased);
    if (__any_sync(kAllLanes, excess.is_there)) excess.put(lane, coder);
    if (run.shift > 0) coder.put_bits(lane, active, biased & ((1u << run.shift) - 1), run.shift);
    const std::int32_t symbol =
        excess.is_there ? 2 * run.half + 1 : (static_cast<std::int32_t>(biased) >> run.shift) + run.half;
    const uint2 entry = __ldg(run.entries + symbol);
    coder.put(lane, active, entry.x, entry.y);
  }
  return coder;
}

// A batch of steps of 32 values, the last one first, looked up before its turn: only what states go through
// is left for that.
struct Batch {
  std::uint32_t biased[kBatch];
  uint2 entries[kBatch];
  std::uint32_t escaping;  // a bit for each step: whether a value of it is beyond the table

  __device__ void look_up(const Run& run, const std::int32_t (&values)[kBatch]) {
    const std::int32_t bias = bias_of(run);
    const auto escape = static_cast<std::uint32_t>(2 * run.half + 1);
    std::uint32_t own = 0;
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      biased[i] = static_cast<std::uint32_t>(values[i] + bias);
      const auto symbol = static_cast<std::uint32_t>(((values[i] + bias) >> run.shift) + run.half);
      own |= symbol >= escape ? 1u << i : 0;
      entries[i] = __ldg(run.entries + min(symbol, escape));
    }
    escaping = own;
    for (int step = 16; step > 0; step /= 2) escaping |= __shfl_xor_sync(kAllLanes, escaping, step);
  }
};

// Those before step `end`, of which there are kBatch.
__device__ void fetch(const Run& run, std::uint32_t end, std::uint32_t lane, std::int32_t (&to)[kBatch]) {
  const std::int32_t* const from = run.values + (end - kBatch) * 32 + lane;
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) to[i] = __ldg(from + (kBatch - 1 - i) * 32);
}

__device__ void encode_run(const Run& run, std::uint32_t lane, WarpRansEncoder& coder) {
  // Batches begin with step 0; what is behind them is coded first.
  std::uint32_t end = run.lanes < 32 ? 0 : run.count / 32 / kBatch * kBatch;
  const std::uint32_t steps = (run.count - 1) / run.lanes + 1;
  if (steps > end) coder = encode_steps(run, end, steps, lane, coder);
  if (end == 0) return;
  std::int32_t coming[kBatch];
  Batch next;
  fetch(run, end, lane, coming);
  next.look_up(run, coming);
  if (end > kBatch) fetch(run, end - kBatch, lane, coming);
  for (; end > 0; end -= kBatch) {
    const Batch batch = next;
    if (end > kBatch) next.look_up(run, coming);
    if (end > 2 * kBatch) fetch(run, end - 2 * kBatch, lane, coming);
    if (batch.escaping == 0 && run.shift == 0) {
#pragma unroll
      for (std::uint32_t i = 0; i < kBatch; ++i)
        coder.put(lane, true, batch.entries[i].x, batch.entries[i].y);
      continue;
    }
    const std::uint32_t mask = (1u << run.shift) - 1;
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      if ((batch.escaping >> i & 1) != 0) Excess(run, batch.biased[i]).put(lane, coder);
      if (run.shift > 0) coder.put_bits(lane, true, batch.biased[i] & mask, run.shift);
      coder.put(lane, true, batch.entries[i].x, batch.entries[i].y);
    }
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
