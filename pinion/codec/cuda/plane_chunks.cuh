#pragma once
// What a warp needs for a chunk of a plane, of modes 1 and 3: its tables, and what elements are made with.
// The frame is hostile: the host checked where its parts lie, and whatever they hold is read within them.

#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/cuda/decode_jobs.h"
#include "pinion/codec/cuda/device_floats.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kMostWarps = 16;  // of a block
inline constexpr std::uint32_t kBatch = 4;  // symbols of a lane for which is fetched at once what they need
inline constexpr std::uint32_t kJoinThreads = 256;
// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
inline constexpr std::uint32_t kRow = kSymbols + 5;
inline constexpr std::size_t kClassBytes = kSlots + kRow * sizeof(std::uint32_t);  // of tables there

// What lossless elements are, beside what modes with loss have (device_floats.cuh).
template <class OfWord>
struct Bits {
  using Word = OfWord;
};

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

// What a warp makes of a chunk: bytes of a plane; together with the other plane, if there is one, elements;
// or those of mode 3 out of numbers of one byte.
enum class Output { kBytes, kElements, kBounded };

template <class Word>
struct Chunk {
  std::uint64_t begin;  // its first element
  std::uint32_t count, lanes, channels;
  std::uint32_t plane, classes;
  const std::uint8_t* class_of_channel;  // null if there is one class, or
  const std::uint8_t* class_of_context;
  // From the chunk's first element on: those before, null if it is not predicted; bytes of the other plane,
  // or null and the constant.
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
    for (std::uint32_t i = 0; i < kBatch; ++i) to.steps[i] = __ldg(chunk.steps + channel + i * chunk.lanes);
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

// Marks which of the warp's 32 elements, from a multiple of 32 on, are escapes, and counts them. Lanes behind
// the last element are not active.
__device__ inline void note_escapes(const DecodeJob& job, std::uint64_t element, bool active, bool is_escape,
                                    std::uint32_t lane) {
  const std::uint32_t mask = __ballot_sync(kAllLanes, active && is_escape);
  if (lane != 0 || !active) return;
  if (job.bounded.escapes != 0) job.escape_masks[element / kWarp] = mask;
  if (mask == 0) return;
  if (job.bounded.escapes == 0) job.outcome->broken = 1;
  if (job.bounded.escapes != 0)
    atomicAdd(&job.escapes_of_group[element / kEscapeGroup], static_cast<std::uint32_t>(__popc(mask)));
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
      const Word element = kPredicted                     ? bits_of<NumberForm::kPredicted>(number, before)
                           : form == NumberForm::kRotated ? bits_of<NumberForm::kRotated>(number, before)
                                                          : number;
      if (active) elements[at] = element;
    }
  }
};

}  // namespace pinion::codec::cuda
