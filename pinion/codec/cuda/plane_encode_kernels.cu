// Chunks of the coded planes, a warp for each.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kWarps = 4;  // of a block
constexpr std::uint32_t kBatch = 8;  // symbols of a lane that are fetched at once, while others are coded

// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5;

struct Chunk {
  std::uint64_t begin;
  std::uint32_t count;
  std::uint32_t first_channel;
  const std::uint8_t* class_of_channel;
};

// A batch of a lane's elements; those past the end of the chunk are not used.
template <class Word>
struct Batch {
  Word now[kBatch], before[kBatch];
  std::uint8_t classes[kBatch];
};

template <class Word>
__device__ void fetch(const ElementsOf& elements, bool predicted, const Chunk& chunk, std::uint32_t batch,
                      std::uint32_t lane, Batch<Word>& to) {
  const std::uint32_t step = kWarp % elements.channels;
  std::uint32_t channel = (chunk.first_channel + batch * kBatch * kWarp + lane) % elements.channels;
#pragma unroll
  for (std::uint32_t i = 0; i < kBatch; ++i) {
    const std::uint32_t at = min((batch * kBatch + i) * kWarp + lane, chunk.count - 1);
    to.now[i] = load_element<Word>(elements.now, chunk.begin + at);
    to.before[i] = predicted ? load_element<Word>(elements.before, chunk.begin + at) : Word{0};
    to.classes[i] =
        chunk.class_of_channel == nullptr ? std::uint8_t{0} : __ldg(chunk.class_of_channel + channel);
    channel += step;
    channel -= channel >= elements.channels ? elements.channels : 0;
  }
}

template <class Word>
__global__ void __launch_bounds__(kWarps* kWarp) encode_chunks(EncodeJob job) {
  __shared__ uint2 tables[kClasses * kRow];
  __shared__ std::uint8_t class_of_context[kSymbols];
  const ElementsOf& elements = job.elements;
  const std::uint32_t plane = blockIdx.y;
  if (!job.plans[plane].is_coded) return;
  const bool predicted = job.outcome->is_predicted != 0;
  const bool classed = has_classes(elements, predicted);
  const uint2* const from = job.tables + std::size_t{plane} * kClasses * kSymbols;
  for (std::uint32_t i = threadIdx.x; i < (classed ? kClasses : 1) * kSymbols; i += blockDim.x)
    tables[i / kSymbols * kRow + i % kSymbols] = from[i];
  for (std::uint32_t i = threadIdx.x; i < kSymbols; i += blockDim.x)
    class_of_context[i] = predicted && classed ? job.class_of_context[i] : std::uint8_t{0};
  __syncthreads();
  const std::uint32_t lane = threadIdx.x % kWarp, index = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (index >= job.chunks) return;

  Chunk chunk;
  chunk.begin = std::uint64_t{index} * kEncodedChunk;
  chunk.count = static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, elements.count - chunk.begin));
  chunk.first_channel = static_cast<std::uint32_t>(chunk.begin % elements.channels);
  chunk.class_of_channel =
      classed && !predicted ? job.class_of_channel + std::size_t{plane} * elements.channels : nullptr;
  const NumberForm form = predicted ? NumberForm::kPredicted : elements.key_form;

  // The chunk ends where its slot does, 16 bytes early for whoever reads whole words.
  const std::size_t slot = std::size_t{plane} * job.chunks + index;
  auto* const end = reinterpret_cast<std::uint16_t*>(job.slots + (slot + 1) * kSlotBytes - 16);
  WarpRansEncoder coder{.first = end};
  const std::uint32_t batches = (chunk.count - 1) / (kBatch * kWarp) + 1;
  Batch<Word> next;
  fetch(elements, predicted, chunk, batches - 1, lane, next);
  for (std::uint32_t batch = batches; batch-- > 0;) {
    const Batch<Word> current = next;
    if (batch > 0) fetch(elements, predicted, chunk, batch - 1, lane, next);
#pragma unroll
    for (std::uint32_t i = kBatch; i-- > 0;) {
      const bool active = (batch * kBatch + i) * kWarp + lane < chunk.count;
      const std::uint32_t symbol = byte_of(number_as(form, current.now[i], current.before[i]), plane);
      const std::uint32_t of = predicted ? class_of_context[context_of(elements.key_form, current.before[i])]
                                         : std::uint32_t{current.classes[i]};
      const uint2 entry = tables[of * kRow + symbol];
      coder.put(lane, active, entry.x, entry.y);
    }
  }
  coder.finish(lane);
  if (lane == 0) job.sizes[slot] = static_cast<std::uint32_t>(2 * (end - coder.first));
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  const dim3 grid((job.chunks - 1) / kWarps + 1, job.elements.width);
  encode_chunks<Word><<<grid, kWarps * kWarp, 0, stream>>>(job);
}

}  // namespace

void launch_encoding(const EncodeJob& job, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
