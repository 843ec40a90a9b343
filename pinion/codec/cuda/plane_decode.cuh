#pragma once
// Chunks of planes to bytes or elements, a warp for each, for modes 1 and 3.

#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/plane_chunks.cuh"
#include "pinion/codec/cuda/warp_symbols.cuh"

namespace pinion::codec::cuda {

// A batch of steps; where all elements of it are in the chunk and it has 32 lanes, nothing is asked.
template <Output kOutput, bool kShared, bool kPredicted, bool kWhole, class Type>
__device__ void decode_batch(const DecodeJob& job, const Tables<kShared>& tables,
                             const Chunk<typename Type::Word>& chunk, const Batch<typename Type::Word>& batch,
                             const Sink<kOutput, Type>& sink, std::uint32_t first, std::uint32_t lane,
                             WarpSymbolDecoder& coder) {
  const std::uint32_t lanes = kWhole ? kWarp : chunk.lanes;
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    const std::uint32_t at = first + i * lanes;
    const bool active = kWhole || (lane < lanes && at < chunk.count);
    std::uint32_t of = 0;
    if (chunk.class_of_channel != nullptr) of = batch.classes[i];
    if (kPredicted && kOutput != Output::kBounded && chunk.class_of_context != nullptr)
      of = __ldg(chunk.class_of_context + context_of(job.elements.key_form, batch.before[i]));
    const std::uint32_t symbol = tables.symbol_at(of, lane_slot(coder.state()));
    const std::uint32_t range = tables.range_of(of, symbol, chunk.classes);
    if constexpr (kOutput == Output::kBounded) {
      const float step = chunk.steps == nullptr ? sink.step : step_value(batch.steps[i]);
      sink.template put_bounded<kPredicted>(active, at, symbol, step, batch.before[i]);
      note_escapes(job, chunk.begin + at, active, symbol == kEscape, lane);
    } else {
      const std::uint32_t other = kOutput == Output::kBytes ? 0
                                  : chunk.other == nullptr
                                      ? sink.constant
                                      : std::uint32_t{batch.other[i]} << sink.other_shift;
      sink.template put<kPredicted>(active, at, symbol, other, batch.before[i]);
    }
    coder.take(active, range);
  }
}

// One chunk by a warp. False if it does not hold what it should.
template <Output kOutput, bool kShared, bool kPredicted, class Type>
__device__ bool decode_chunk(const DecodeJob& job, const Tables<kShared>& tables,
                             const Chunk<typename Type::Word>& chunk, WarpSymbolDecoder& coder,
                             std::uint32_t lane) {
  using Word = typename Type::Word;
  const std::uint32_t shift = 8 * (sizeof(Word) - 1 - chunk.plane);
  const std::uint32_t other_shift = 8 * (sizeof(Word) - 1) - shift;  // of two planes the other one's
  const Sink<kOutput, Type> sink{job.elements.key_form,
                                 shift,
                                 other_shift,
                                 sizeof(Word) == 2 ? chunk.constant << other_shift : 0,
                                 step_value(job.bounded.step),
                                 job.decoded + chunk.plane * job.elements.count + chunk.begin,
                                 reinterpret_cast<Word*>(job.out) + chunk.begin};
  const std::uint32_t per_batch = kBatch * chunk.lanes, step = per_batch % chunk.channels;
  const std::uint32_t whole = chunk.lanes == kWarp ? chunk.count / per_batch : 0;
  const std::uint32_t batches = (chunk.count - 1) / per_batch + 1;
  auto channel = static_cast<std::uint32_t>((chunk.begin + lane) % chunk.channels);
  Batch<Word> next{};
  fetch<kOutput>(chunk, lane, channel, next);
  std::uint32_t first = lane;
  for (std::uint32_t batch = 0; batch < batches; ++batch, first += per_batch) {
    const Batch<Word> current = next;
    channel += step;
    channel -= channel >= chunk.channels ? chunk.channels : 0;
    if (batch + 1 < batches) fetch<kOutput>(chunk, first + per_batch, channel, next);
    if (batch < whole) {
      decode_batch<kOutput, kShared, kPredicted, true, Type>(job, tables, chunk, current, sink, first, lane,
                                                             coder);
    } else {
      decode_batch<kOutput, kShared, kPredicted, false, Type>(job, tables, chunk, current, sink, first, lane,
                                                              coder);
    }
    if (coder.ran_out()) return false;
  }
  return coder.ends_cleanly();
}

// Blocks take the chunks of a plane in turns.
template <Output kOutput, bool kShared, class Type>
__global__ void __launch_bounds__(kMostWarps* kWarp, 2)
    decode_chunks(DecodeJob job, std::uint32_t first_plane, bool is_last) {
  using Word = typename Type::Word;
  wait_for_earlier_work();
  const std::uint32_t plane_index = first_plane + blockIdx.y, warps = blockDim.x / kWarp;
  const DecodePlane& plane = job.planes[plane_index];
  if (plane.is_coded) {
    const Tables<kShared> tables = tables_of<kShared>(job, plane_index);
    const std::uint32_t lane = threadIdx.x % kWarp;
    const DecodePlane& other = job.planes[sizeof(Word) == 2 ? 1 - plane_index : plane_index];
    const std::uint8_t* const map = plane.classes > 1 ? job.maps + plane.map_at : nullptr;
    const bool by_context = plane.treatment == PlaneTreatment::kByContext;
    const bool joins = kOutput == Output::kElements;
    for (std::uint64_t index = std::uint64_t{blockIdx.x} * warps + threadIdx.x / kWarp; index < job.chunks;
         index += std::uint64_t{gridDim.x} * warps) {
      const std::uint64_t begin = index * job.chunk_elements;
      const Chunk<Word> chunk{
          begin,
          static_cast<std::uint32_t>(min(job.chunk_elements, job.elements.count - begin)),
          job.lanes,
          job.elements.channels,
          plane_index,
          plane.classes,
          by_context ? nullptr : map,
          by_context ? map : nullptr,
          job.is_predicted ? reinterpret_cast<const Word*>(job.elements.before) + begin : nullptr,
          joins && other.treatment == PlaneTreatment::kRaw
              ? reinterpret_cast<const std::uint8_t*>(job.frame + other.raw_at) + begin
              : nullptr,
          other.constant,
          job.bounded.steps};
      WarpSymbolDecoder coder;
      const std::uint64_t at = plane.chunks_at + index;
      bool fine = coder.open(job.frame + job.places[at], job.sizes[at], job.lanes, lane);
      if (fine && job.is_predicted) {
        fine = decode_chunk<kOutput, kShared, true, Type>(job, tables, chunk, coder, lane);
      } else if (fine) {
        fine = decode_chunk<kOutput, kShared, false, Type>(job, tables, chunk, coder, lane);
      }
      if (!fine) job.outcome->broken = 1;
    }
  }
  if (is_last) finish(*job.outcome, job.outcome_on_host);
}

// An element's number, where all planes are decoded.
template <class Word>
__device__ Word number_at(const DecodeJob& job, std::uint64_t element) {
  Word number = 0;
#pragma unroll
  for (std::uint32_t p = 0; p < sizeof(Word); ++p) {
    const DecodePlane& plane = job.planes[p];
    std::uint32_t byte = plane.constant;
    if (plane.is_coded) byte = job.decoded[p * job.elements.count + element];
    if (plane.treatment == PlaneTreatment::kRaw)
      byte = static_cast<std::uint32_t>(job.frame[plane.raw_at + element]);
    number = static_cast<Word>(number | byte << (8 * (sizeof(Word) - 1 - p)));
  }
  return number;
}

inline constexpr std::uint64_t kMostBlocks = 4096;

// What launch_decoding() does for mode 3, behind the tables; and its part of allow_shared_memory().
void launch_bounded_decoding(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream);
cudaError_t allow_bounded_memory(int bytes);

struct Coded {
  std::uint32_t planes = 0, classes = 0, last = 0;
};

inline Coded coded_planes(const DecodeJob& job, std::uint32_t planes) {
  Coded coded;
  for (std::uint32_t p = 0; p < planes; ++p) {
    if (!job.planes[p].is_coded) continue;
    coded.classes = job.planes[p].classes > coded.classes ? job.planes[p].classes : coded.classes;
    coded.last = p;
    ++coded.planes;
  }
  return coded;
}

// Two blocks for each multiprocessor, with as many warps as that leaves for each.
template <Output kOutput, class Type>
void start_chunks(const DecodeJob& job, const DeviceRoom& room, const Coded& coded, std::uint32_t planes,
                  bool is_last, cudaStream_t stream) {
  const bool fits = coded.classes * kClassBytes <= room.most_shared_bytes;
  const std::uint64_t at_once = 2 * room.multiprocessors;
  const std::uint64_t of_block = (job.chunks - 1) / at_once + 1;
  const auto warps = static_cast<std::uint32_t>(of_block < kMostWarps ? of_block : kMostWarps);
  const std::uint64_t all_blocks = (job.chunks - 1) / warps + 1;
  const dim3 grid(static_cast<std::uint32_t>(all_blocks < kMostBlocks ? all_blocks : kMostBlocks), planes);
  const std::uint32_t first = planes == 1 ? coded.last : 0;
  const auto kernel = fits ? decode_chunks<kOutput, true, Type> : decode_chunks<kOutput, false, Type>;
  start_behind(kernel, grid, warps * kWarp, fits ? coded.classes * kClassBytes : 0, stream, job, first,
               is_last);
}

inline std::uint32_t join_blocks(const DecodeJob& job) {
  const std::uint64_t joins = (job.elements.count - 1) / (4 * kJoinThreads) + 1;
  return static_cast<std::uint32_t>(joins < 8 * kMostBlocks ? joins : 8 * kMostBlocks);
}

template <Output kOutput, class Type>
cudaError_t allow(int bytes) {
  return cudaFuncSetAttribute(decode_chunks<kOutput, true, Type>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              bytes);
}

}  // namespace pinion::codec::cuda
