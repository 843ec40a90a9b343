// Elements of mode 3 (docs/format.md §9) out of the chunks or bytes of their numbers, and escaped ones to
// their places.

#include "pinion/codec/cuda/plane_decode.cuh"

namespace pinion::codec::cuda {
namespace {

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
    const std::uint64_t element =
        word * kWarp + static_cast<std::uint32_t>(__ffs(static_cast<int>(mask))) - 1;
    const std::byte* const from = job.frame + job.bounded.escapes_at + next * sizeof(Word);
    std::uint32_t bits = 0;
    for (std::uint32_t i = 0; i < sizeof(Word); ++i) bits |= static_cast<std::uint32_t>(from[i]) << (8 * i);
    reinterpret_cast<Word*>(job.out)[element] = static_cast<Word>(bits);
  }
  finish(*job.outcome, job.outcome_on_host);
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

}  // namespace

void launch_bounded_decoding(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream) {
  switch (static_cast<DType>(job.dtype)) {
    case DType::kF32:
      return launch_bounded<F32>(job, room, stream);
    case DType::kF16:
      return launch_bounded<F16>(job, room, stream);
    default:
      return launch_bounded<BF16>(job, room, stream);
  }
}

cudaError_t allow_bounded_memory(int bytes) {
  for (const cudaError_t failed :
       {allow<Output::kBytes, Bits<std::uint8_t>>(bytes), allow<Output::kBounded, F32>(bytes),
        allow<Output::kBounded, F16>(bytes), allow<Output::kBounded, BF16>(bytes)}) {
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace pinion::codec::cuda
