// Mode 3 (docs/format.md §9) up to the numbers of elements, which are then coded as planes like those of mode
// 1: steps of channels, whether the frame refers to the one before, numbers and escapes. What the decoder
// will have takes the place of what it has.

#include <limits>
#include <type_traits>

#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/cuda/chunk_sizes.cuh"
#include "pinion/codec/cuda/device_floats.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kSquareWarps = 8;  // of a block of sums, which has 32 channels
constexpr std::uint32_t kStepThreads = 256;
constexpr std::uint32_t kSurveyThreads = 1024;
constexpr std::uint32_t kSampledBlocks = 8, kBlock = 1024;  // elements that lie together
constexpr std::uint32_t kNumberThreads = 256;
constexpr std::uint32_t kPart = 8;  // elements of a thread that lie together

// The first kernel. Sums the squares of a channel's finite elements over a part of the rows.
template <class Type>
__global__ void __launch_bounds__(kSquareWarps* kWarp) begin_bounded(EncodeJob job) {
  wait_for_earlier_work();
  clear(job);
  const BoundedCoding& bounded = job.bounded;
  if (!bounded.per_channel) return;
  __shared__ double squares[kSquareWarps][kWarp];
  __shared__ std::uint32_t finite[kSquareWarps][kWarp];
  const std::uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp,
                      channels = job.elements.channels;
  const std::uint32_t channel = blockIdx.x * kWarp + lane;
  const std::uint64_t rows = job.elements.count / channels, share = (rows - 1) / gridDim.y + 1;
  const std::uint64_t first = share * blockIdx.y, end = min(first + share, rows);
  double sum = 0;
  std::uint32_t count = 0;
  if (channel < channels) {
#pragma unroll 4
    for (std::uint64_t row = first + warp; row < end; row += kSquareWarps) {
      const float value =
          Type::widen(load_element<typename Type::Word>(job.tensor, row * channels + channel));
      const bool is_finite = float_size(value) <= std::numeric_limits<float>::max();
      const double kept = is_finite ? value : 0.0f;
      sum += kept * kept;
      count += is_finite;
    }
  }
  squares[warp][lane] = sum;
  finite[warp][lane] = count;
  __syncthreads();
  if (warp != 0 || channel >= channels) return;
  for (std::uint32_t w = 1; w < kSquareWarps; ++w) {
    sum += squares[w][lane];
    count += finite[w][lane];
  }
  bounded.squares[std::size_t{blockIdx.y} * channels + channel] = sum;
  bounded.finite[std::size_t{blockIdx.y} * channels + channel] = count;
}

// A thread for each channel.
__global__ void __launch_bounds__(kStepThreads) choose_steps(EncodeJob job) {
  wait_for_earlier_work();
  const BoundedCoding& bounded = job.bounded;
  const std::uint32_t channel = blockIdx.x * kStepThreads + threadIdx.x, channels = job.elements.channels;
  if (channel >= channels) return;
  const std::uint32_t parts = row_parts(job.elements.count / channels, channels);
  double sum = 0;
  std::uint32_t count = 0;
  for (std::uint32_t p = 0; p < parts; ++p) {
    sum += bounded.squares[std::size_t{p} * channels + channel];
    count += bounded.finite[std::size_t{p} * channels + channel];
  }
  const double bound = bounded.size * sqrt(sum / max(count, 1u));
  const std::uint16_t step = step_within(bound);
  bounded.step_bits[channel] = step;
  bounded.steps[channel] = {step_value(step), float_not_above(bound), 1 / step_value(step)};
}

__device__ BoundedStep step_of(const BoundedCoding& bounded, std::uint32_t channel) {
  return bounded.per_channel ? bounded.steps[channel] : bounded.one;
}

// One block, where there is a state: a sample says whether the frame is to refer to it.
template <class Type>
__global__ void __launch_bounds__(kSurveyThreads) survey_bounded(EncodeJob job) {
  using Word = typename Type::Word;
  wait_for_earlier_work();
  __shared__ double sums[kSurveyThreads / kWarp];
  const std::uint64_t count = job.elements.count, blocks = (count - 1) / kBlock + 1;
  const std::uint64_t stride = (blocks - 1) / kSampledBlocks + 1;
  double alone = 0, changed = 0;
#pragma unroll
  for (std::uint32_t b = 0; b < kSampledBlocks; ++b) {
    const std::uint64_t at = b * stride * kBlock + threadIdx.x;
    if (at >= count) continue;
    const BoundedStep with = step_of(job.bounded, static_cast<std::uint32_t>(at % job.elements.channels));
    const float value = Type::widen(load_element<Word>(job.tensor, at)) / with.step;
    const float change =
        value - Type::widen(reinterpret_cast<const Word*>(job.bounded.state)[at]) / with.step;
    if (!isfinite(value) || !isfinite(change)) continue;
    alone += static_cast<double>(log2f(1 + fabsf(value)));
    changed += static_cast<double>(log2f(1 + fabsf(change)));
  }
  alone = block_sum(alone, sums);
  changed = block_sum(changed, sums);
  if (threadIdx.x == 0) job.outcome->refers = changed < alone;
}

// Eight words, or fewer at the end of a tensor.
template <class Word>
struct Part {
  alignas(16) Word words[kPart];
};

template <class Word>
__device__ void load_part(const std::byte* elements, bool whole, std::uint64_t at, std::uint32_t count,
                          Part<Word>& to) {
  const Word* const from = reinterpret_cast<const Word*>(elements) + at;
  if (whole) {
#pragma unroll
    for (std::uint32_t i = 0; i < sizeof(to.words) / sizeof(uint4); ++i)
      reinterpret_cast<uint4*>(to.words)[i] = reinterpret_cast<const uint4*>(from)[i];
    return;
  }
#pragma unroll
  for (std::uint32_t i = 0; i < kPart; ++i) to.words[i] = i < count ? from[i] : Word{0};
}

// To memory of our own, of which a part always begins at a multiple of 16 bytes, or 8 of numbers of one byte.
template <class Word>
__device__ void store_part(void* elements, std::uint64_t at, std::uint32_t count, const Part<Word>& from) {
  using Wide = std::conditional_t<sizeof(Word) == 1, uint2, uint4>;
  Word* const to = static_cast<Word*>(elements) + at;
  if (count == kPart) {
#pragma unroll
    for (std::uint32_t i = 0; i < sizeof(from.words) / sizeof(Wide); ++i)
      reinterpret_cast<Wide*>(to)[i] = reinterpret_cast<const Wide*>(from.words)[i];
    return;
  }
  for (std::uint32_t i = 0; i < count; ++i) to[i] = from.words[i];
}

// What a thread found.
struct Found {
  std::uint32_t escapes = 0, large = 0;
};

// A thread's elements of a chunk, by parts. Numbers that do not fit are escapes.
template <bool kRefers, bool kPerChannel, class Number, class Type>
__device__ Found number_chunk(const EncodeJob& job, std::uint64_t chunk_begin, std::uint32_t in_chunk) {
  using Word = typename Type::Word;
  constexpr std::uint32_t kMost = sizeof(Number) == 1 ? 0xff : 0xffff;
  const BoundedCoding& bounded = job.bounded;
  const bool aligned = reinterpret_cast<std::uintptr_t>(job.tensor) % 16 == 0;
  Found found;
#pragma unroll 2
  for (std::uint32_t first = kPart * threadIdx.x; first < in_chunk; first += kPart * kNumberThreads) {
    const std::uint32_t count = min(kPart, in_chunk - first);
    const std::uint64_t at = chunk_begin + first;
    Part<Word> now, before;
    Part<Number> numbers;
    load_part(job.tensor, aligned && count == kPart, at, count, now);
    if constexpr (kRefers) load_part(bounded.state, count == kPart, at, count, before);
    std::uint32_t channel = 0, mask = 0;
    if constexpr (kPerChannel) channel = static_cast<std::uint32_t>(at % job.elements.channels);
    BoundedStep with = bounded.one;
#pragma unroll
    for (std::uint32_t i = 0; i < kPart; ++i) {
      if constexpr (kPerChannel) {
        with = bounded.steps[channel];
        channel = channel + 1 == job.elements.channels ? 0 : channel + 1;
      }
      const float value = Type::widen(now.words[i]);
      const float index = nearest_or_zero(value * with.inverse);
      const Word decoded = Type::narrow(index * with.step);
      float prediction = 0;
      if constexpr (kRefers) prediction = bounded_prediction(Type::widen(before.words[i]), with.step);
      std::uint32_t number = bounded_number(value, Type::widen(decoded), index, prediction, with.bound);
      const bool active = i < count;
      found.large += active && number > 0xff;
      number = number > kMost ? kEscape : number;
      numbers.words[i] = static_cast<Number>(number);
      now.words[i] = number == kEscape ? now.words[i] : decoded;
      mask |= (active && number == kEscape ? 1u : 0u) << i;
    }
    store_part(job.numbers, at, count, numbers);
    if (bounded.state != nullptr) store_part(bounded.state, at, count, now);
    bounded.escape_masks[at / kPart] = static_cast<std::uint8_t>(mask);
    found.escapes += static_cast<std::uint32_t>(__popc(mask));
  }
  return found;
}

// A block for each chunk.
template <bool kPerChannel, class Number, class Type>
__global__ void __launch_bounds__(kNumberThreads) make_numbers(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint32_t sums[kNumberThreads / kWarp];
  const BoundedCoding& bounded = job.bounded;
  const std::uint64_t begin = std::uint64_t{blockIdx.x} * kEncodedChunk;
  const auto count =
      static_cast<std::uint32_t>(min(std::uint64_t{kEncodedChunk}, job.elements.count - begin));
  const Found found = job.outcome->refers != 0
                          ? number_chunk<true, kPerChannel, Number, Type>(job, begin, count)
                          : number_chunk<false, kPerChannel, Number, Type>(job, begin, count);
  const std::uint32_t escapes = block_sum(found.escapes, sums), large = block_sum(found.large, sums);
  if (threadIdx.x != 0) return;
  bounded.escapes_of_chunk[blockIdx.x] = escapes;
  if (escapes != 0) atomicAdd(&bounded.escapes_of_group[blockIdx.x / kGroupChunks], escapes);
  if (large != 0) atomicAdd(&job.outcome->large_numbers, large);
}

template <class Number, class Type>
void start_numbers(const EncodeJob& job, cudaStream_t stream) {
  start_behind(job.bounded.per_channel ? make_numbers<true, Number, Type> : make_numbers<false, Number, Type>,
               job.chunks, kNumberThreads, 0, stream, job);
}

template <class Type>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  const ElementsOf& elements = job.elements;
  const std::uint64_t rows = elements.count / elements.channels;
  const std::uint32_t parts = job.bounded.per_channel ? row_parts(rows, elements.channels) : 1;
  const dim3 grid(job.bounded.per_channel ? (elements.channels - 1) / kWarp + 1 : 32, parts);
  start_behind(begin_bounded<Type>, grid, kSquareWarps * kWarp, 0, stream, job);
  if (job.bounded.per_channel)
    start_behind(choose_steps, (elements.channels - 1) / kStepThreads + 1, kStepThreads, 0, stream, job);
  if (job.bounded.may_refer) start_behind(survey_bounded<Type>, 1, kSurveyThreads, 0, stream, job);
  if (elements.width == 1) return start_numbers<std::uint8_t, Type>(job, stream);
  start_numbers<std::uint16_t, Type>(job, stream);
}

}  // namespace

void launch_numbers(const EncodeJob& job, cudaStream_t stream) {
  switch (static_cast<DType>(job.dtype)) {
    case DType::kF32:
      return launch_as<F32>(job, stream);
    case DType::kF16:
      return launch_as<F16>(job, stream);
    default:
      return launch_as<BF16>(job, stream);
  }
}

}  // namespace pinion::codec::cuda
