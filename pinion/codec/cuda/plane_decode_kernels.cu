// From the chunks of a frame to the tensor: tables out of frequencies, a warp for each chunk of each coded
// plane, then elements out of their bytes. The frame is hostile: the host checked where its parts lie, and
// whatever they hold is read within them.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kTableThreads = 256;
constexpr std::uint32_t kWarps = 8;
constexpr std::uint32_t kBatch = 8;  // steps whose classes are fetched at once
constexpr std::uint32_t kJoinThreads = 256;
// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5;
constexpr std::size_t kClassBytes = kSlots + kRow * sizeof(std::uint32_t);  // of tables there

// A block for each class of each plane; each thread fills 16 slots.
__global__ void build_tables(DecodeJob job) {
  __shared__ std::uint32_t starts[kSymbols + 1];
  __shared__ std::uint32_t scratch[kTableThreads / kWarp];
  const DecodePlane& plane = job.planes[blockIdx.y];
  if (!plane.is_coded || blockIdx.x >= plane.classes) return;
  const std::size_t table = std::size_t{blockIdx.y} * kClasses + blockIdx.x;
  const std::uint32_t f = job.frequencies[table * kSymbols + threadIdx.x];
  std::uint32_t total = 0;
  const std::uint32_t start = block_sum_before(f, scratch, total);
  starts[threadIdx.x] = start;
  if (threadIdx.x == 0) starts[kSymbols] = kSlots;
  job.symbol_ranges[table * kSymbols + threadIdx.x] = f | start << 16;
  __syncthreads();
  constexpr std::uint32_t kOwn = kSlots / kTableThreads;
  const std::uint32_t first = threadIdx.x * kOwn;
  // The last symbol that does not start behind the slot has it: those without slots start where the next one
  // does.
  std::uint32_t symbol = 0;
  for (std::uint32_t step = kSymbols / 2; step > 0; step /= 2) {
    if (starts[symbol + step] <= first) symbol += step;
  }
  std::uint32_t packed[kOwn / 4] = {};
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    while (symbol < kSymbols - 1 && starts[symbol + 1] <= first + i) ++symbol;
    packed[i / 4] |= symbol << (8 * (i % 4));
  }
  auto* const to = reinterpret_cast<std::uint32_t*>(job.slot_symbols + table * kSlots + first);
  for (std::uint32_t i = 0; i < kOwn / 4; ++i) to[i] = packed[i];
}

struct Tables {
  const std::uint8_t* symbols;
  const std::uint32_t* ranges;
  std::uint32_t row;  // from the ranges of one class to those of the next
};

// The tables of a plane, in shared memory if there is room.
__device__ Tables tables_of(const DecodeJob& job, std::uint32_t plane, std::uint32_t shared_classes,
                            std::uint32_t* shared) {
  const std::size_t first = std::size_t{plane} * kClasses;
  const Tables global{job.slot_symbols + first * kSlots, job.symbol_ranges + first * kSymbols, kSymbols};
  const std::uint32_t classes = job.planes[plane].classes;
  if (classes > shared_classes) return global;
  const auto* const symbols = reinterpret_cast<const std::uint32_t*>(global.symbols);
  std::uint32_t* const ranges = shared + classes * kSlots / 4;
  for (std::uint32_t i = threadIdx.x; i < classes * kSlots / 4; i += blockDim.x) shared[i] = symbols[i];
  for (std::uint32_t i = threadIdx.x; i < classes * kSymbols; i += blockDim.x)
    ranges[i / kSymbols * kRow + i % kSymbols] = global.ranges[i];
  __syncthreads();
  return {reinterpret_cast<const std::uint8_t*>(shared), ranges, kRow};
}

struct Classes {
  const std::uint8_t* map;  // null if there is one class
  bool by_context;
};

// The class of an element.
template <class Word>
__device__ std::uint32_t class_at(const DecodeJob& job, const Classes& classes, std::uint64_t element,
                                  std::uint32_t channel) {
  if (classes.map == nullptr) return 0;
  if (classes.by_context)
    return __ldg(classes.map +
                 context_of(job.elements.key_form, load_element<Word>(job.elements.before, element)));
  return __ldg(classes.map + channel);
}

template <class Word>
__device__ bool decode_chunk(const DecodeJob& job, const DecodePlane& plane, const Tables& tables,
                             std::uint64_t index, std::uint8_t* out) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  const std::uint64_t begin = index * job.chunk_elements;
  const std::uint64_t count = min(job.chunk_elements, job.elements.count - begin);
  const Classes classes{plane.classes > 1 ? job.maps + plane.map_at : nullptr,
                        plane.treatment == PlaneTreatment::kByContext};
  WarpRansDecoder coder;
  const std::uint64_t chunk = plane.chunks_at + index;
  if (!coder.open(job.frame + job.places[chunk], job.sizes[chunk], job.lanes, lane)) return false;
  const std::uint64_t per_batch = std::uint64_t{kBatch} * job.lanes;
  const std::uint64_t batches = (count - 1) / per_batch + 1;
  std::uint32_t next[kBatch];
  const std::uint32_t channels = job.elements.channels, step = job.lanes % channels;
  const auto fetch = [&](std::uint64_t batch) {
    auto channel = static_cast<std::uint32_t>((begin + batch * per_batch + lane) % channels);
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const std::uint64_t at = min(batch * per_batch + i * job.lanes + lane, count - 1);
      next[i] = class_at<Word>(job, classes, begin + at, channel);
      channel += step;
      channel -= channel >= channels ? channels : 0;
    }
  };
  fetch(0);
  for (std::uint64_t batch = 0; batch < batches; ++batch) {
    std::uint32_t current[kBatch];
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) current[i] = next[i];
    if (batch + 1 < batches) fetch(batch + 1);
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const std::uint64_t at = batch * per_batch + i * job.lanes + lane;
      const bool active = lane < job.lanes && at < count;
      const std::uint32_t symbol = tables.symbols[current[i] * kSlots + lane_slot(coder.state())];
      const std::uint32_t range = tables.ranges[current[i] * tables.row + symbol];
      if (active) out[begin + at] = static_cast<std::uint8_t>(symbol);
      if (!coder.take(lane, active, range)) return false;
    }
  }
  return coder.ends_cleanly();
}

// Blocks take the chunks of a plane in turns.
template <class Word>
__global__ void __launch_bounds__(kWarps* kWarp) decode_chunks(DecodeJob job, std::uint32_t shared_classes) {
  extern __shared__ std::uint32_t shared[];
  const DecodePlane& plane = job.planes[blockIdx.y];
  if (!plane.is_coded) return;
  const Tables tables = tables_of(job, blockIdx.y, shared_classes, shared);
  std::uint8_t* const out = job.decoded + blockIdx.y * job.elements.count;
  for (std::uint64_t index = std::uint64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; index < job.chunks;
       index += std::uint64_t{gridDim.x} * kWarps) {
    if (!decode_chunk<Word>(job, plane, tables, index, out)) job.outcome->broken = 1;
  }
}

template <class Word>
__device__ Word element_of(NumberForm form, Word number, Word before) {
  if (form == NumberForm::kPredicted) return bits_of<NumberForm::kPredicted>(number, before);
  if (form == NumberForm::kRotated) return bits_of<NumberForm::kRotated>(number, before);
  return number;
}

template <class Word>
__global__ void join(DecodeJob job) {
  const ElementsOf& elements = job.elements;
  const NumberForm form = job.is_predicted ? NumberForm::kPredicted : elements.key_form;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kJoinThreads;
#pragma unroll 4
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kJoinThreads + threadIdx.x; i < elements.count;
       i += stride) {
    Word number = 0;
    for (std::uint32_t p = 0; p < sizeof(Word); ++p) {
      const DecodePlane& plane = job.planes[p];
      std::uint32_t byte = plane.constant;
      if (plane.is_coded) byte = job.decoded[p * elements.count + i];
      if (plane.treatment == PlaneTreatment::kRaw)
        byte = static_cast<std::uint32_t>(job.frame[plane.raw_at + i]);
      number = static_cast<Word>(number | byte << (8 * (sizeof(Word) - 1 - p)));
    }
    const Word before = job.is_predicted ? load_element<Word>(elements.before, i) : Word{0};
    reinterpret_cast<Word*>(job.out)[i] = element_of(form, number, before);
  }
}

constexpr std::uint64_t kMostBlocks = 4096;

template <class Word>
void launch_as(const DecodeJob& job, std::size_t most_shared_bytes, cudaStream_t stream) {
  build_tables<<<dim3(kClasses, job.elements.width), kTableThreads, 0, stream>>>(job);
  std::uint32_t classes = 0;
  for (std::uint32_t p = 0; p < job.elements.width; ++p) {
    if (job.planes[p].is_coded && job.planes[p].classes > classes) classes = job.planes[p].classes;
  }
  const bool fits = classes * kClassBytes <= most_shared_bytes;
  const std::uint64_t blocks = (job.chunks - 1) / kWarps + 1;
  const dim3 grid(static_cast<std::uint32_t>(blocks < kMostBlocks ? blocks : kMostBlocks),
                  job.elements.width);
  decode_chunks<Word>
      <<<grid, kWarps * kWarp, fits ? classes * kClassBytes : 0, stream>>>(job, fits ? classes : 0);
  const std::uint64_t joins = (job.elements.count - 1) / (4 * kJoinThreads) + 1;
  join<Word><<<static_cast<std::uint32_t>(joins < 8 * kMostBlocks ? joins : 8 * kMostBlocks), kJoinThreads, 0,
               stream>>>(job);
}

}  // namespace

void launch_decoding(const DecodeJob& job, std::size_t most_shared_bytes, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, most_shared_bytes, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, most_shared_bytes, stream);
  launch_as<std::uint32_t>(job, most_shared_bytes, stream);
}

cudaError_t allow_shared_memory(std::size_t bytes) {
  for (const void* kernel : {reinterpret_cast<const void*>(decode_chunks<std::uint8_t>),
                             reinterpret_cast<const void*>(decode_chunks<std::uint16_t>),
                             reinterpret_cast<const void*>(decode_chunks<std::uint32_t>)}) {
    const cudaError_t failed =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace pinion::codec::cuda
