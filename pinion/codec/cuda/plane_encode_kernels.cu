// Chunks of the coded planes, a warp for each.

#include "pinion/codec/cuda/chunk_sizes.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kMostWarps = 12;  // of a block
constexpr std::uint32_t kBatch = 8;  // symbols of a lane that are fetched at once, while others are coded

// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5;

// What a warp codes and with what.
template <class Word>
struct Chunk {
  const Word* now;     // its elements
  const Word* before;  // null if it is not predicted
  std::uint32_t count;
  const std::uint8_t* class_of_channel;  // null if channels have no classes
  std::uint32_t channels, first_channel;
  const uint2* tables;                   // [classes, kRow]
  const std::uint8_t* class_of_context;  // of predicted elements
  NumberForm key_form;
  std::uint32_t plane;
};

// A batch of a lane's elements; those past the end of the chunk are others of it.
template <class Word>
struct Batch {
  Word now[kBatch], before[kBatch];
  std::uint8_t classes[kBatch];
};

template <bool kPredicted, bool kWhole, class Word>
__device__ void fetch(const Chunk<Word>& chunk, std::uint32_t first, std::uint32_t channel, Batch<Word>& to) {
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    const std::uint32_t at = kWhole ? first + i * kWarp : min(first + i * kWarp, chunk.count - 1);
    to.now[i] = __ldg(chunk.now + at);
    if constexpr (kPredicted) to.before[i] = __ldg(chunk.before + at);
  }
  if constexpr (!kPredicted) {
    if (chunk.class_of_channel == nullptr) return;
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.classes[i] = __ldg(chunk.class_of_channel + channel + i * kWarp);
  }
}

template <bool kPredicted, bool kWhole, class Word>
__device__ void encode_batch(const Chunk<Word>& chunk, std::uint32_t first, std::uint32_t lane,
                             std::uint32_t turn, const Batch<Word>& batch, WarpRansEncoder& coder) {
#pragma unroll
  for (std::uint32_t i = kBatch; i-- > 0;) {
    const bool active = kWhole || first + i * kWarp < chunk.count;
    std::uint32_t symbol, of = 0;
    if constexpr (kPredicted) {
      symbol = byte_of(number_of<NumberForm::kPredicted>(batch.now[i], batch.before[i]), chunk.plane);
      of = chunk.class_of_context[context_of(chunk.key_form, batch.before[i])];
    } else {
      symbol = key_byte(batch.now[i], turn);
      if (chunk.class_of_channel != nullptr) of = batch.classes[i];
    }
    const uint2 entry = chunk.tables[of * kRow + symbol];
    coder.put(lane, active, entry.x, entry.y);
  }
}

// Batches from the last one, which may be broken, to the first. One is fetched while another is coded.
template <bool kPredicted, class Word>
__device__ void encode_chunk(const Chunk<Word>& chunk, std::uint32_t lane, WarpRansEncoder& coder) {
  constexpr std::uint32_t kElements = kBatch * kWarp;
  static_assert(kElements <= kChannelRing);
  std::uint32_t first = (chunk.count - 1) / kElements * kElements + lane;
  std::uint32_t channel = (chunk.first_channel + first) % chunk.channels;
  const std::uint32_t step = kElements % chunk.channels;
  const auto one_back = [&] { channel = channel >= step ? channel - step : channel + chunk.channels - step; };
  const std::uint32_t turn = key_turn<Word>(chunk.key_form, chunk.plane);

  Batch<Word> next;
  fetch<kPredicted, false>(chunk, first, channel, next);
  Batch<Word> current = next;
  if (first >= kElements) {
    one_back();
    fetch<kPredicted, true>(chunk, first - kElements, channel, next);
  }
  encode_batch<kPredicted, false>(chunk, first, lane, turn, current, coder);
  while (first >= kElements) {
    first -= kElements;
    current = next;
    if (first >= kElements) {
      one_back();
      fetch<kPredicted, true>(chunk, first - kElements, channel, next);
    }
    encode_batch<kPredicted, true>(chunk, first, lane, turn, current, coder);
  }
}

template <class Word>
__global__ void __launch_bounds__(kMostWarps* kWarp) encode_chunks(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ uint2 tables[kFinest * kRow];
  __shared__ std::uint8_t class_of_context[kSymbols];
  const ElementsOf& elements = job.elements;
  const std::uint32_t plane = blockIdx.y;
  if (!job.plans[plane].is_coded) return;
  const bool predicted = job.outcome->is_predicted != 0;
  const bool classed = has_classes(elements, predicted);
  const uint2* const from = job.tables + std::size_t{plane} * kFinest * kSymbols;
  for (std::uint32_t i = threadIdx.x; i < (classed ? kFinest : 1) * kSymbols; i += blockDim.x)
    tables[i / kSymbols * kRow + i % kSymbols] = from[i];
  for (std::uint32_t i = threadIdx.x; i < kSymbols; i += blockDim.x)
    class_of_context[i] = predicted && classed ? job.class_of_context[i] : std::uint8_t{0};
  __syncthreads();
  const std::uint32_t lane = threadIdx.x % kWarp,
                      index = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (index >= job.chunks) return;

  const std::uint64_t begin = std::uint64_t{index} * kEncodedChunk;
  const std::size_t ring = std::size_t{elements.channels} + kChannelRing;
  const Chunk<Word> chunk{
      reinterpret_cast<const Word*>(elements.now) + begin,
      predicted ? reinterpret_cast<const Word*>(elements.before) + begin : nullptr,
      static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, elements.count - begin)),
      classed && !predicted ? job.class_of_channel + plane * ring : nullptr,
      elements.channels,
      static_cast<std::uint32_t>(begin % elements.channels),
      tables,
      class_of_context,
      elements.key_form,
      plane};
  // The chunk ends where its slot does, 16 bytes early for whoever reads whole words.
  constexpr std::uint32_t kEnd = (kSlotBytes - 16) / 2;
  const std::size_t slot = std::size_t{plane} * job.chunks + index;
  WarpRansEncoder coder{reinterpret_cast<std::uint16_t*>(job.slots + slot * kSlotBytes), kEnd};
  if (predicted) {
    encode_chunk<true>(chunk, lane, coder);
  } else {
    encode_chunk<false>(chunk, lane, coder);
  }
  coder.finish(lane);
  if (lane != 0) return;
  const std::uint32_t bytes = 2 * (kEnd - coder.first);
  job.sizes[slot] = bytes;
  // Unsigned numbers of 64 bits have one name here and another one there.
  atomicAdd(reinterpret_cast<unsigned long long*>(job.group_sums) + std::size_t{plane} * groups_of(job) +
                index / kGroupChunks,
            both_bytes(bytes));
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  // Two blocks for each multiprocessor, as far as that goes: none has more to do than others.
  const std::uint32_t of_block = (job.chunks - 1) / (2 * job.multiprocessors) + 1;
  const std::uint32_t warps = of_block < kMostWarps ? of_block : kMostWarps;
  start_behind(encode_chunks<Word>, dim3((job.chunks - 1) / warps + 1, job.elements.width), warps * kWarp, 0,
               stream, job);
}

}  // namespace

void launch_encoding(const EncodeJob& job, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
