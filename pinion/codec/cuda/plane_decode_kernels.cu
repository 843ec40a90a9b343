// From the chunks of a frame to the tensor: tables out of frequencies, chunks, then, where these were not
// enough, elements out of their bytes.

#include "pinion/codec/cuda/plane_decode.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kTableThreads = 256;

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

template <class Word>
__device__ Word element_of(NumberForm form, Word number, Word before) {
  if (form == NumberForm::kPredicted) return bits_of<NumberForm::kPredicted>(number, before);
  if (form == NumberForm::kRotated) return bits_of<NumberForm::kRotated>(number, before);
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

}  // namespace

void launch_decoding(const DecodeJob& job, const DeviceRoom& room, cudaStream_t stream) {
  start_behind(build_tables, dim3(kClasses, job.is_bounded ? job.bounded.number_bytes : job.elements.width),
               kTableThreads, 0, stream, job);
  if (job.is_bounded) return launch_bounded_decoding(job, room, stream);
  if (job.elements.width == 1) return launch_lossless<std::uint8_t>(job, room, stream);
  if (job.elements.width == 2) return launch_lossless<std::uint16_t>(job, room, stream);
  launch_lossless<std::uint32_t>(job, room, stream);
}

cudaError_t allow_shared_memory(std::size_t bytes) {
  const int most = static_cast<int>(bytes);
  for (const cudaError_t failed :
       {allow<Output::kBytes, Bits<std::uint8_t>>(most), allow<Output::kBytes, Bits<std::uint16_t>>(most),
        allow<Output::kBytes, Bits<std::uint32_t>>(most), allow<Output::kElements, Bits<std::uint8_t>>(most),
        allow<Output::kElements, Bits<std::uint16_t>>(most), allow_bounded_memory(most)}) {
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace pinion::codec::cuda
