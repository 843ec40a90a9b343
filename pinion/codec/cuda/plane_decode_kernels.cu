// From the chunks of a frame to the tensor: tables out of frequencies, a warp for each chunk of each coded
// plane, then elements out of their bytes. The frame is hostile: the host checked where its parts lie, and
// whatever they hold is read within them.

#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/cuda/device_floats.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/warp_symbols.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kTableThreads = 256;
constexpr std::uint32_t kMostWarps = 16;  // of a block
constexpr std::uint32_t kBatch = 4;       // symbols of a lane for which is fetched at once what they need
constexpr std::uint32_t kJoinThreads = 256;
// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5;
constexpr std::size_t kClassBytes = kSlots + kRow * sizeof(std::uint32_t);  // of tables there

// What lossless elements are, beside what modes with loss have (device_floats.cuh).
template <class OfWord>
struct Bits {
  using Word = OfWord;
};

// A block for each class of each plane; each thread fills 16 slots. All of them fetch what the host wrote for
// the next kernel.
__global__ void __launch_bounds__(kTableThreads) build_tables(DecodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint32_t starts[kSymbols + 1];
  __shared__ std::uint32_t scratch[kTableThreads / kWarp];
  const std::uint32_t blocks = gridDim.x * gridDim.y, block = blockIdx.y * gridDim.x + blockIdx.x;
  for (std::size_t i = block * kTableThreads + threadIdx.x; i < job.part_bytes / sizeof(uint4);
       i += blocks * kTableThreads)
    reinterpret_cast<uint4*>(job.parts)[i] = reinterpret_cast<const uint4*>(job.parts_on_host)[i];
  for (std::size_t i = block * kTableThreads + threadIdx.x; i < job.escape_groups;
       i += blocks * kTableThreads)
    job.escapes_of_group[i] = 0;
  const DecodePlane& plane = job.planes[blockIdx.y];
  if (!plane.is_coded || blockIdx.x >= plane.classes) return;
  const std::size_t table = std::size_t{blockIdx.y} * kClasses + blockIdx.x;
  const std::uint32_t f = job.frequencies_on_host[table * kSymbols + threadIdx.x];
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

// Marks which of the warp's 32 elements, from a multiple of 32 on, are escapes, and counts them. Lanes behind
// the last element are not active.
__device__ void note_escapes(const DecodeJob& job, std::uint64_t element, bool active, bool is_escape,
                             std::uint32_t lane) {
  const std::uint32_t mask = __ballot_sync(kAllLanes, active && is_escape);
  if (lane != 0 || !active) return;
  if (job.bounded.escapes != 0) job.escape_masks[element / kWarp] = mask;
  if (mask == 0) return;
  if (job.bounded.escapes == 0) job.outcome->broken = 1;
  if (job.bounded.escapes != 0)
    atomicAdd(&job.escapes_of_group[element / kEscapeGroup], static_cast<std::uint32_t>(__popc(mask)));
}

// What a warp makes of a chunk: bytes of a plane; together with the other plane, if there is one, elements; or
// those of mode 3 out of numbers of one byte.
enum class Output { kBytes, kElements, kBounded };

template <class Word>
struct Chunk {
  std::uint64_t begin;  // its first element
  std::uint32_t count, lanes, channels;
  std::uint32_t plane, classes;
  const std::uint8_t* class_of_channel;  // null if there is one class, or
  const std::uint8_t* class_of_context;
  // From the chunk's first element on: those before, null if it is not predicted; bytes of the other plane, or
  // null and the constant.
  const Word* before;
  const std::uint8_t* other;
  std::uint32_t constant;
  const std::uint16_t* steps;  // of channels, as `class_of_channel`; null if there is one
};

// What a lane needs for a batch besides the chunk's words; past the end it is that of the last element. As it
// is loaded: to compute with it here would be to wait for it.
template <class Word>
struct Batch {
  std::uint8_t classes[kBatch], other[kBatch];
  std::uint16_t steps[kBatch];
  Word before[kBatch];
};

template <Output kOutput, class Word>
__device__ void fetch(const Chunk<Word>& chunk, std::uint32_t first, std::uint32_t channel, Batch<Word>& to) {
  if (chunk.class_of_channel != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.classes[i] = __ldg(chunk.class_of_channel + channel + i * chunk.lanes);
  }
  if (kOutput == Output::kBounded && chunk.steps != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.steps[i] = __ldg(chunk.steps + channel + i * chunk.lanes);
  }
  if (chunk.before != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.before[i] = __ldg(chunk.before + min(first + i * chunk.lanes, chunk.count - 1));
  }
  if (kOutput == Output::kElements && chunk.other != nullptr) {
#pragma unroll
    for (std::uint32_t i = 0; i < kBatch; ++i)
      to.other[i] = __ldg(chunk.other + min(first + i * chunk.lanes, chunk.count - 1));
  }
}

// Where symbols go, and how they become elements there.
template <Output kOutput, class Type>
struct Sink {
  using Word = typename Type::Word;
  NumberForm form;
  std::uint32_t shift, other_shift, constant;
  float step;  // if there is one
  std::uint8_t* bytes;
  Word* elements;

  // Of mode 3; the whole warp has elements that lie together, from a multiple of 32 on.
  template <bool kPredicted>
  __device__ void put_bounded(bool active, std::uint32_t at, std::uint32_t symbol, float step_of,
                              Word before) const {
    float prediction = 0;
    if constexpr (kPredicted) prediction = bounded_prediction(Type::widen(before), step_of);
    if (active) elements[at] = Type::narrow(bounded_value(symbol, prediction, step_of));
  }

  template <bool kPredicted>
  __device__ void put(bool active, std::uint32_t at, std::uint32_t symbol, std::uint32_t other,
                      Word before) const {
    if constexpr (kOutput == Output::kBytes) {
      if (active) bytes[at] = static_cast<std::uint8_t>(symbol);
    } else {
      const auto number = static_cast<Word>(other | symbol << shift);
      const Word element = kPredicted                          ? bits_of<NumberForm::kPredicted>(number, before)
                           : form == NumberForm::kRotated ? bits_of<NumberForm::kRotated>(number, before)
                                                          : number;
      if (active) elements[at] = element;
    }
  }
};

// A batch of steps; where all elements of it are in the chunk and it has 32 lanes, nothing is asked.
template <Output kOutput, bool kShared, bool kPredicted, bool kWhole, class Type>
__device__ void decode_batch(const DecodeJob& job, const Tables<kShared>& tables,
                                      const Chunk<typename Type::Word>& chunk,
                                      const Batch<typename Type::Word>& batch, const Sink<kOutput, Type>& sink,
                                      std::uint32_t first, std::uint32_t lane, WarpSymbolDecoder& coder) {
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
  const Sink<kOutput, Type> sink{
      job.elements.key_form,
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
      const Chunk<Word> chunk{begin,
                              static_cast<std::uint32_t>(min(job.chunk_elements, job.elements.count - begin)),
                              job.lanes,
                              job.elements.channels,
                              plane_index,
                              plane.classes,
                              by_context ? nullptr : map,
                              by_context ? map : nullptr,
                              job.is_predicted ? reinterpret_cast<const Word*>(job.elements.before) + begin
                                               : nullptr,
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

template <class Word>
__global__ void __launch_bounds__(kJoinThreads) join(DecodeJob job) {
  wait_for_earlier_work();
  const NumberForm form = job.is_predicted ? NumberForm::kPredicted : job.elements.key_form;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kJoinThreads;
#pragma unroll 4
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kJoinThreads + threadIdx.x; i < job.elements.count;
       i += stride) {
    const Word before = job.is_predicted ? load_element<Word>(job.elements.before, i) : Word{0};
    reinterpret_cast<Word*>(job.out)[i] = element_of(form, number_at<Word>(job, i), before);
  }
  finish(*job.outcome, job.outcome_on_host);
}

// Elements of mode 3 out of their numbers' planes.
template <class Number, class Type>
__global__ void __launch_bounds__(kJoinThreads) join_bounded(DecodeJob job, bool is_last) {
  using Word = typename Type::Word;
  wait_for_earlier_work();
  const std::uint64_t stride = std::uint64_t{gridDim.x} * kJoinThreads;
  const std::uint64_t all = (job.elements.count + kWarp - 1) / kWarp * kWarp;  // warps stay whole
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * kJoinThreads + threadIdx.x; i < all; i += stride) {
    const bool active = i < job.elements.count;
    const std::uint32_t number = active ? number_at<Number>(job, i) : 1;
    if (active) {
      const auto channel = static_cast<std::uint32_t>(i % job.elements.channels);
      const float step =
          step_value(job.bounded.steps == nullptr ? job.bounded.step : __ldg(job.bounded.steps + channel));
      float prediction = 0;
      if (job.is_predicted)
        prediction = bounded_prediction(Type::widen(load_element<Word>(job.elements.before, i)), step);
      reinterpret_cast<Word*>(job.out)[i] = Type::narrow(bounded_value(number, prediction, step));
    }
    note_escapes(job, i, active, number == kEscape, threadIdx.x % kWarp);
  }
  if (is_last) finish(*job.outcome, job.outcome_on_host);
}

// Puts the escaped elements of mode 3 where the marks are: a block for each group, a thread for each word of
// marks.
template <class Word>
__global__ void __launch_bounds__(kEscapeGroup / kWarp) place_escapes(DecodeJob job) {
  wait_for_earlier_work();
  constexpr std::uint32_t kThreads = kEscapeGroup / kWarp;
  __shared__ std::uint64_t sums[kThreads / kWarp];
  std::uint64_t before = 0;
  for (std::uint32_t g = threadIdx.x; g < blockIdx.x; g += kThreads) before += job.escapes_of_group[g];
  before = block_sum(before, sums);
  const std::uint64_t word = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  std::uint32_t mask = word * kWarp < job.elements.count ? job.escape_masks[word] : 0;
  std::uint64_t total = 0;
  std::uint64_t next =
      before + block_sum_before(std::uint64_t{static_cast<std::uint32_t>(__popc(mask))}, sums, total);
  const bool has_all = before + total <= job.bounded.escapes;
  if (!has_all || (blockIdx.x == gridDim.x - 1 && before + total != job.bounded.escapes))
    job.outcome->broken = 1;
  for (; has_all && mask != 0; mask &= mask - 1, ++next) {
    const std::uint64_t element = word * kWarp + static_cast<std::uint32_t>(__ffs(static_cast<int>(mask))) - 1;
    const std::byte* const from = job.frame + job.bounded.escapes_at + next * sizeof(Word);
    std::uint32_t bits = 0;
    for (std::uint32_t i = 0; i < sizeof(Word); ++i) bits |= static_cast<std::uint32_t>(from[i]) << (8 * i);
    reinterpret_cast<Word*>(job.out)[element] = static_cast<Word>(bits);
  }
  finish(*job.outcome, job.outcome_on_host);
}

constexpr std::uint64_t kMostBlocks = 4096;

struct Coded {
  std::uint32_t planes = 0, classes = 0, last = 0;
};

Coded coded_planes(const DecodeJob& job, std::uint32_t planes) {
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

std::uint32_t join_blocks(const DecodeJob& job) {
  const std::uint64_t joins = (job.elements.count - 1) / (4 * kJoinThreads) + 1;
  return static_cast<std::uint32_t>(joins < 8 * kMostBlocks ? joins : 8 * kMostBlocks);
}

template <class Word>
void launch_lossless(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream) {
  const Coded coded = coded_planes(job, job.elements.width);
  // With one coded plane of two at most, chunks become elements at once.
  if (coded.planes == 1 && sizeof(Word) <= 2)
    return start_chunks<Output::kElements, Bits<Word>>(job, room, coded, 1, true, stream);
  if (coded.planes > 0)
    start_chunks<Output::kBytes, Bits<Word>>(job, room, coded, job.elements.width, false, stream);
  start_behind(join<Word>, join_blocks(job), kJoinThreads, 0, stream, job);
}

template <class Type>
void launch_bounded(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream) {
  const std::uint32_t bytes = job.bounded.number_bytes;
  const Coded coded = coded_planes(job, bytes);
  const bool has_escapes = job.bounded.escapes != 0;
  const bool marks_words = job.lanes == kWarp && job.chunk_elements % kWarp == 0;
  if (bytes == 1 && coded.planes == 1 && marks_words) {
    start_chunks<Output::kBounded, Type>(job, room, coded, 1, !has_escapes, stream);
  } else {
    if (coded.planes > 0)
      start_chunks<Output::kBytes, Bits<std::uint8_t>>(job, room, coded, bytes, false, stream);
    start_behind(bytes == 1 ? join_bounded<std::uint8_t, Type> : join_bounded<std::uint16_t, Type>,
                 join_blocks(job), kJoinThreads, 0, stream, job, !has_escapes);
  }
  if (!has_escapes) return;
  start_behind(place_escapes<typename Type::Word>, static_cast<std::uint32_t>(job.escape_groups),
               kEscapeGroup / kWarp, 0, stream, job);
}

template <Output kOutput, class Type>
cudaError_t allow(int bytes) {
  return cudaFuncSetAttribute(decode_chunks<kOutput, true, Type>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              bytes);
}

}  // namespace

void launch_decoding(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream) {
  start_behind(build_tables, dim3(kClasses, job.is_bounded ? job.bounded.number_bytes : job.elements.width),
               kTableThreads, 0, stream, job);
  if (job.is_bounded) {
    if (static_cast<DType>(job.dtype) == DType::kF32) return launch_bounded<F32>(job, room, stream);
    if (static_cast<DType>(job.dtype) == DType::kF16) return launch_bounded<F16>(job, room, stream);
    return launch_bounded<BF16>(job, room, stream);
  }
  if (job.elements.width == 1) return launch_lossless<std::uint8_t>(job, room, stream);
  if (job.elements.width == 2) return launch_lossless<std::uint16_t>(job, room, stream);
  launch_lossless<std::uint32_t>(job, room, stream);
}

cudaError_t allow_shared_memory(std::size_t bytes) {
  const int most = static_cast<int>(bytes);
  for (const cudaError_t failed :
       {allow<Output::kBytes, Bits<std::uint8_t>>(most), allow<Output::kBytes, Bits<std::uint16_t>>(most),
        allow<Output::kBytes, Bits<std::uint32_t>>(most), allow<Output::kElements, Bits<std::uint8_t>>(most),
        allow<Output::kElements, Bits<std::uint16_t>>(most), allow<Output::kBounded, F32>(most),
        allow<Output::kBounded, F16>(most), allow<Output::kBounded, BF16>(most)}) {
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace pinion::codec::cuda
