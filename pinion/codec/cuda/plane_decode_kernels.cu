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
constexpr std::uint32_t kBatch = 4;  // symbols of a lane for which is fetched at once what they need
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

// Tables of a plane's classes: in shared memory where the compiler is to know that, `kRow` ranges from one
// class to the next, else where build_tables() left them.
template <bool kShared>
struct Tables {
  const std::uint8_t* symbols;
  const std::uint32_t* ranges;

  __device__ std::uint32_t symbol_at(std::uint32_t of, std::uint32_t slot) const {
    if constexpr (!kShared) return symbols[of * kSlots + slot];
    extern __shared__ std::uint32_t shared[];
    return reinterpret_cast<const std::uint8_t*>(shared)[of * kSlots + slot];
  }
  __device__ std::uint32_t range_of(std::uint32_t of, std::uint32_t symbol, std::uint32_t classes) const {
    if constexpr (!kShared) return ranges[of * kSymbols + symbol];
    extern __shared__ std::uint32_t shared[];
    return shared[classes * (kSlots / 4) + of * kRow + symbol];
  }
};

template <bool kShared>
__device__ Tables<kShared> tables_of(const DecodeJob& job, std::uint32_t plane) {
  const std::size_t first = std::size_t{plane} * kClasses;
  const Tables<kShared> global{job.slot_symbols + first * kSlots, job.symbol_ranges + first * kSymbols};
  if constexpr (kShared) {
    extern __shared__ std::uint32_t shared[];
    const std::uint32_t classes = job.planes[plane].classes;
    const auto* const symbols = reinterpret_cast<const uint4*>(global.symbols);
    std::uint32_t* const ranges = shared + classes * (kSlots / 4);
    for (std::uint32_t i = threadIdx.x; i < classes * (kSlots / 16); i += blockDim.x)
      reinterpret_cast<uint4*>(shared)[i] = __ldg(symbols + i);
    for (std::uint32_t i = threadIdx.x; i < classes * kSymbols; i += blockDim.x)
      ranges[i / kSymbols * kRow + i % kSymbols] = __ldg(global.ranges + i);
    __syncthreads();
  }
  return global;
}

template <class Word>
__device__ Word element_of(NumberForm form, Word number, Word before) {
  if (form == NumberForm::kPredicted) return bits_of<NumberForm::kPredicted>(number, before);
  if (form == NumberForm::kRotated) return bits_of<NumberForm::kRotated>(number, before);
  return number;
}

template <class Word>
struct Chunk {
  std::uint64_t begin;  // its first element
  std::uint32_t count, lanes, channels;
  std::uint32_t plane, classes;
  const std::uint8_t* class_of_channel;  // null if there is one class, or
  const std::uint8_t* class_of_context;
  const Word* before;  // null if it is not predicted
  // The other plane, if elements have one: its bytes, from the tensor's first on, or null and the constant.
  const std::uint8_t* other;
  std::uint32_t constant;
};

// What a lane needs for a batch besides the chunk's words; past the end it is that of the last element. As it
// is loaded: to compute with it here would be to wait for it.
template <class Word>
struct Batch {
  std::uint8_t classes[kBatch], other[kBatch];
  Word before[kBatch];
};

template <bool kJoins, class Word>
__device__ void fetch(const Chunk<Word>& chunk, std::uint32_t first, std::uint32_t channel, Batch<Word>& to) {
  const auto at = [&](std::uint32_t i) {
    return chunk.begin + min(first + i * chunk.lanes, chunk.count - 1);
  };
  if (chunk.class_of_channel != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.classes[i] = __ldg(chunk.class_of_channel + channel + i * chunk.lanes);
  }
  if (chunk.before != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) to.before[i] = __ldg(chunk.before + at(i));
  }
  if (kJoins && chunk.other != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) to.other[i] = __ldg(chunk.other + at(i));
  }
}

// One chunk of a plane by a warp: to bytes, or together with the other planes to elements. False if it does
// not hold what it should.
template <bool kJoins, bool kShared, class Word>
__device__ bool decode_chunk(const DecodeJob& job, const Tables<kShared>& tables, const Chunk<Word>& chunk,
                             WarpRansDecoder& coder, std::uint32_t lane) {
  const NumberForm form = job.is_predicted ? NumberForm::kPredicted : job.elements.key_form;
  const std::uint32_t shift = 8 * (sizeof(Word) - 1 - chunk.plane);
  const std::uint32_t per_batch = kBatch * chunk.lanes, step = per_batch % chunk.channels;
  const std::uint32_t batches = (chunk.count - 1) / per_batch + 1;
  auto channel = static_cast<std::uint32_t>((chunk.begin + lane) % chunk.channels);
  std::uint8_t* const bytes = job.decoded + chunk.plane * job.elements.count + chunk.begin;
  Word* const elements = reinterpret_cast<Word*>(job.out) + chunk.begin;
  // Of two planes the other one.
  const std::uint32_t other_shift = 8 * (sizeof(Word) - 1) - shift;
  const std::uint32_t constant = sizeof(Word) == 2 ? chunk.constant << other_shift : 0;
  Batch<Word> next{};
  fetch<kJoins>(chunk, lane, channel, next);
  for (std::uint32_t batch = 0, first = lane; batch < batches; ++batch, first += per_batch) {
    const Batch<Word> current = next;
    channel += step;
    channel -= channel >= chunk.channels ? chunk.channels : 0;
    if (batch + 1 < batches) fetch<kJoins>(chunk, first + per_batch, channel, next);
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i) {
      const std::uint32_t at = first + i * chunk.lanes;
      const bool active = lane < chunk.lanes && at < chunk.count;
      std::uint32_t of = 0;
      if (chunk.class_of_channel != nullptr) of = current.classes[i];
      if (chunk.class_of_context != nullptr)
        of = __ldg(chunk.class_of_context + context_of(job.elements.key_form, current.before[i]));
      const std::uint32_t symbol = tables.symbol_at(of, lane_slot(coder.state()));
      const std::uint32_t range = tables.range_of(of, symbol, chunk.classes);
      if constexpr (kJoins) {
        const std::uint32_t rest =
            chunk.other == nullptr ? constant : std::uint32_t{current.other[i]} << other_shift;
        const auto number = static_cast<Word>(rest | symbol << shift);
        if (active) elements[at] = element_of(form, number, current.before[i]);
      } else {
        if (active) bytes[at] = static_cast<std::uint8_t>(symbol);
      }
      if (!coder.take(lane, active, range)) return false;
    }
  }
  return coder.ends_cleanly();
}

// Blocks take the chunks of a plane in turns.
template <bool kJoins, bool kShared, class Word>
__global__ void __launch_bounds__(kWarps* kWarp, 4) decode_chunks(DecodeJob job, std::uint32_t first_plane) {
  const std::uint32_t plane_index = first_plane + blockIdx.y;
  const DecodePlane& plane = job.planes[plane_index];
  if (!plane.is_coded) return;
  const Tables<kShared> tables = tables_of<kShared>(job, plane_index);
  const std::uint32_t lane = threadIdx.x % kWarp;
  const DecodePlane& other = job.planes[sizeof(Word) == 2 ? 1 - plane_index : plane_index];
  const std::uint8_t* const map = plane.classes > 1 ? job.maps + plane.map_at : nullptr;
  const bool by_context = plane.treatment == PlaneTreatment::kByContext;
  for (std::uint64_t index = std::uint64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; index < job.chunks;
       index += std::uint64_t{gridDim.x} * kWarps) {
    const std::uint64_t begin = index * job.chunk_elements;
    const Chunk<Word> chunk{begin,
                            static_cast<std::uint32_t>(min(job.chunk_elements, job.elements.count - begin)),
                            job.lanes,
                            job.elements.channels,
                            plane_index,
                            plane.classes,
                            by_context ? nullptr : map,
                            by_context ? map : nullptr,
                            job.is_predicted ? reinterpret_cast<const Word*>(job.elements.before) : nullptr,
                            other.treatment == PlaneTreatment::kRaw
                                ? reinterpret_cast<const std::uint8_t*>(job.frame + other.raw_at)
                                : nullptr,
                            other.constant};
    WarpRansDecoder coder;
    const std::uint64_t at = plane.chunks_at + index;
    const bool fine = coder.open(job.frame + job.places[at], job.sizes[at], job.lanes, lane) &&
                      decode_chunk<kJoins>(job, tables, chunk, coder, lane);
    if (!fine) job.outcome->broken = 1;
  }
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

template <class Word>
__global__ void join(DecodeJob job) {
  const NumberForm form = job.is_predicted ? NumberForm::kPredicted : job.elements.key_form;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kJoinThreads;
#pragma unroll 4
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kJoinThreads + threadIdx.x; i < job.elements.count;
       i += stride) {
    const Word before = job.is_predicted ? load_element<Word>(job.elements.before, i) : Word{0};
    reinterpret_cast<Word*>(job.out)[i] = element_of(form, number_at<Word>(job, i), before);
  }
}

constexpr std::uint64_t kMostBlocks = 4096;

template <class Word>
void launch_as(const DecodeJob& job, std::size_t most_shared_bytes, cudaStream_t stream) {
  std::uint32_t classes = 0, coded = 0, last = 0;
  for (std::uint32_t p = 0; p < job.elements.width; ++p) {
    if (!job.planes[p].is_coded) continue;
    classes = job.planes[p].classes > classes ? job.planes[p].classes : classes;
    last = p;
    ++coded;
  }
  const bool fits = classes * kClassBytes <= most_shared_bytes;
  const std::uint64_t all_blocks = (job.chunks - 1) / kWarps + 1;
  const auto blocks = static_cast<std::uint32_t>(all_blocks < kMostBlocks ? all_blocks : kMostBlocks);
  if (coded > 0) build_tables<<<dim3(kClasses, job.elements.width), kTableThreads, 0, stream>>>(job);
  // With one coded plane of two at most, chunks become elements at once.
  const bool joins_at_once = coded == 1 && sizeof(Word) <= 2;
  const dim3 grid(blocks, joins_at_once ? 1 : job.elements.width);
  const std::uint32_t first = joins_at_once ? last : 0;
  const auto start = [&](auto kernel, std::size_t shared_bytes) {
    kernel<<<grid, kWarps * kWarp, shared_bytes, stream>>>(job, first);
  };
  if (coded > 0 && fits) {
    start(joins_at_once ? decode_chunks<true, true, Word> : decode_chunks<false, true, Word>,
          classes * kClassBytes);
  } else if (coded > 0) {
    start(joins_at_once ? decode_chunks<true, false, Word> : decode_chunks<false, false, Word>, 0);
  }
  if (joins_at_once) return;
  const std::uint64_t joins = (job.elements.count - 1) / (4 * kJoinThreads) + 1;
  join<Word><<<static_cast<std::uint32_t>(joins < 8 * kMostBlocks ? joins : 8 * kMostBlocks), kJoinThreads, 0,
               stream>>>(job);
}

template <class Word>
cudaError_t allow_shared_memory_as(int bytes) {
  constexpr auto kWhat = cudaFuncAttributeMaxDynamicSharedMemorySize;
  const cudaError_t failed = cudaFuncSetAttribute(decode_chunks<true, true, Word>, kWhat, bytes);
  return failed != cudaSuccess ? failed
                               : cudaFuncSetAttribute(decode_chunks<false, true, Word>, kWhat, bytes);
}

}  // namespace

void launch_decoding(const DecodeJob& job, std::size_t most_shared_bytes, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, most_shared_bytes, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, most_shared_bytes, stream);
  launch_as<std::uint32_t>(job, most_shared_bytes, stream);
}

cudaError_t allow_shared_memory(std::size_t bytes) {
  const int most = static_cast<int>(bytes);
  cudaError_t failed = allow_shared_memory_as<std::uint8_t>(most);
  if (failed == cudaSuccess) failed = allow_shared_memory_as<std::uint16_t>(most);
  return failed == cudaSuccess ? allow_shared_memory_as<std::uint32_t>(most) : failed;
}

}  // namespace pinion::codec::cuda
