// What the choices of mode 1 rest on: whether prediction pays (from a sample), classes of channels or
// contexts (from a sample), and how often each byte occurs in each class (exactly).

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kSurveyThreads = 1024;
constexpr std::uint32_t kBlock = 256;    // elements of a sample that lie together
constexpr std::uint32_t kBlocks = 32;    // of a sample
constexpr std::uint32_t kMostRows = 64;  // of a sample of channels
constexpr std::uint32_t kSumWarps = 16;  // of a block of sums
constexpr std::uint32_t kBuckets = 8192;
constexpr std::uint32_t kBucketBytes = 2;  // of the sum of a channel's sample: 64 bytes below 2^14
constexpr std::uint32_t kCountThreads = 512;
constexpr std::uint32_t kCountBatch = 4;
constexpr std::uint32_t kCountBlocks = 396;  // at most, of two planes

static_assert(kMostRows * 255 / kBucketBytes < kBuckets);

// -count log2 count.
__device__ double information(std::uint32_t count) {
  return count == 0 ? 0.0
                    : -static_cast<double>(count) * static_cast<double>(log2f(static_cast<float>(count)));
}

struct SurveyScratch {
  std::uint32_t counts[2][kPlanes][kSymbols];                      // in a key frame, and predicted
  std::uint32_t context_counts[kSymbols], context_sums[kSymbols];  // of the highest predicted bytes
  std::uint64_t keys[kSymbols];
  double weights[kSymbols];
  std::uint32_t order[kSymbols];
  std::uint32_t present[kSymbols / kWarp];
  std::uint8_t class_of[kSymbols];
  double sums[kSurveyThreads / kWarp];
};

template <class Word>
__device__ void count_sample(const ElementsOf& elements, SurveyScratch& scratch) {
  const std::uint64_t blocks = (elements.count - 1) / kBlock + 1;
  const std::uint64_t stride = (blocks - 1) / kBlocks + 1;
  for (std::uint32_t i = threadIdx.x; i < kBlocks * kBlock; i += blockDim.x) {
    const std::uint64_t at = i / kBlock * stride * kBlock + i % kBlock;
    if (at >= elements.count) continue;
    const Word now = load_element<Word>(elements.now, at), before = load_element<Word>(elements.before, at);
    const Word key = number_as(elements.key_form, now, Word{0});
    const Word predicted = number_as(NumberForm::kPredicted, now, before);
    for (std::uint32_t p = 0; p < sizeof(Word); ++p) {
      atomicAdd(&scratch.counts[0][p][byte_of(key, p)], 1u);
      atomicAdd(&scratch.counts[1][p][byte_of(predicted, p)], 1u);
    }
    const std::uint32_t context = context_of(elements.key_form, before);
    atomicAdd(&scratch.context_counts[context], 1u);
    atomicAdd(&scratch.context_sums[context], byte_of(predicted, 0));
  }
}

__device__ double bits_of_sample(std::uint32_t (&counts)[kPlanes][kSymbols], double* scratch) {
  double bits = 0;
  for (std::uint32_t i = threadIdx.x; i < kPlanes * kSymbols; i += blockDim.x)
    bits += information(counts[i / kSymbols][i % kSymbols]);
  return block_sum(bits, scratch);  // the totals are the same for both
}

// Contexts in classes of about equal weight, in the order of the mean of the bytes that come with them;
// those with larger bytes weigh more. One that does not occur is classed like the one before it.
__device__ void class_contexts(SurveyScratch& scratch, std::uint8_t* class_of) {
  constexpr std::uint64_t kUnits = 1 << 16;
  const std::uint32_t c = threadIdx.x;
  if (c < kSymbols) {
    const std::uint32_t count = scratch.context_counts[c];
    const std::uint64_t mean = count == 0 ? 0 : scratch.context_sums[c] * kUnits / count;
    scratch.keys[c] = count == 0 ? ~std::uint64_t{0} - kSymbols + c : mean << 8 | c;
    scratch.weights[c] = count * static_cast<double>(log2f(2 + static_cast<float>(mean) / kUnits));
  }
  __syncthreads();
  if (c < kSymbols) {
    std::uint32_t rank = 0;
    for (std::uint32_t other = 0; other < kSymbols; ++other) rank += scratch.keys[other] < scratch.keys[c];
    scratch.order[rank] = c;
  }
  __syncthreads();
  const bool mine = c < kSymbols && scratch.context_counts[scratch.order[c]] != 0;
  const std::uint32_t context = mine ? scratch.order[c] : 0;
  const double weight = mine ? scratch.weights[context] : 0;
  double total = 0;
  const double before = block_sum_before(weight, scratch.sums, total);
  if (mine) {
    const double middle = (before + weight / 2) / total * kFinest;
    scratch.class_of[context] =
        static_cast<std::uint8_t>(min(static_cast<std::uint32_t>(middle), kFinest - 1));
  }
  const std::uint32_t present = __ballot_sync(0xffffffffu, c < kSymbols && scratch.context_counts[c] != 0);
  if (c < kSymbols && c % kWarp == 0) scratch.present[c / kWarp] = present;
  __syncthreads();
  if (c >= kSymbols) return;
  std::uint32_t word = c / kWarp, marks = scratch.present[word] & (0xffffffffu >> (31 - c % kWarp));
  while (marks == 0 && word > 0) marks = scratch.present[--word];
  const std::uint32_t like =
      marks == 0 ? scratch.order[0]
                 : kWarp * word + 31 - static_cast<std::uint32_t>(__clz(static_cast<int>(marks)));
  class_of[c] = scratch.class_of[like];
}

// One block, where there is a tensor before. Decides whether the frame is predicted.
template <class Word>
__global__ void survey(EncodeJob job) {
  __shared__ SurveyScratch scratch;
  auto* const counts = &scratch.counts[0][0][0];
  for (std::uint32_t i = threadIdx.x; i < 2 * kPlanes * kSymbols; i += blockDim.x) counts[i] = 0;
  for (std::uint32_t i = threadIdx.x; i < kSymbols; i += blockDim.x)
    scratch.context_counts[i] = scratch.context_sums[i] = 0;
  __syncthreads();
  count_sample<Word>(job.elements, scratch);
  __syncthreads();
  const double key = bits_of_sample(scratch.counts[0], scratch.sums);
  const double predicted = bits_of_sample(scratch.counts[1], scratch.sums);
  if (threadIdx.x == 0) job.outcome->is_predicted = predicted < key;
  class_contexts(scratch, job.class_of_context);
}

// The sum of a channel's bytes of each plane over a sample of the rows. A block has 32 channels, a warp for
// each share of the rows.
template <class Word>
__global__ void sum_channels(EncodeJob job) {
  if (job.outcome->is_predicted != 0 || !has_classes(job.elements, false)) return;
  __shared__ std::uint32_t parts[sizeof(Word)][kSumWarps][kWarp];
  const std::uint32_t channel = blockIdx.x * kWarp + threadIdx.x, channels = job.elements.channels;
  const std::uint64_t rows = job.elements.count / channels, stride = (rows - 1) / kMostRows + 1;
  std::uint32_t sums[sizeof(Word)] = {};
  if (channel < channels) {
#pragma unroll 4
    for (std::uint64_t row = threadIdx.y * stride; row < rows; row += kSumWarps * stride) {
      const Word now = load_element<Word>(job.elements.now, row * channels + channel);
      const Word number = number_as(job.elements.key_form, now, Word{0});
      for (std::uint32_t p = 0; p < sizeof(Word); ++p) sums[p] += byte_of(number, p);
    }
  }
  for (std::uint32_t p = 0; p < sizeof(Word); ++p) parts[p][threadIdx.y][threadIdx.x] = sums[p];
  __syncthreads();
  if (threadIdx.y >= sizeof(Word) || channel >= channels) return;
  std::uint32_t sum = 0;
  for (std::uint32_t w = 0; w < kSumWarps; ++w) sum += parts[threadIdx.y][w][threadIdx.x];
  job.sums[threadIdx.y * channels + channel] = sum;
}

// Whether a sample leaves hope that coding the plane pays; by a block, to all its threads.
template <class Word>
__device__ bool may_be_worth_it(const ElementsOf& elements, bool predicted, std::uint32_t plane,
                                std::uint32_t* counts, double* scratch) {
  constexpr double kHopeless = 0.985;  // of the raw size
  for (std::uint32_t s = threadIdx.x; s < kSymbols; s += blockDim.x) counts[s] = 0;
  __syncthreads();
  const NumberForm form = predicted ? NumberForm::kPredicted : elements.key_form;
  const std::uint64_t blocks = (elements.count - 1) / kBlock + 1, stride = (blocks - 1) / kBlocks + 1;
  for (std::uint32_t i = threadIdx.x; i < kBlocks * kBlock; i += blockDim.x) {
    const std::uint64_t at = i / kBlock * stride * kBlock + i % kBlock;
    if (at >= elements.count) continue;
    const Word now = load_element<Word>(elements.now, at);
    const Word before = predicted ? load_element<Word>(elements.before, at) : Word{0};
    atomicAdd(&counts[byte_of(number_as(form, now, before), plane)], 1u);
  }
  __syncthreads();
  double bits = 0;
  std::uint32_t own = threadIdx.x < kSymbols ? counts[threadIdx.x] : 0;
  bits = block_sum(information(own), scratch);
  const double total = block_sum(static_cast<double>(own), scratch);
  bits += total * static_cast<double>(log2f(static_cast<float>(total)));
  // A small sample of random bytes looks less random than it is.
  return bits + min(256.0, total) / 1.4 < kHopeless * 8 * total;
}

// A block for each plane: whether it is to be counted, and classes of about as many channels, in the order of
// the sums.
template <class Word>
__global__ void prepare_planes(EncodeJob job) {
  __shared__ std::uint32_t buckets[kBuckets];
  __shared__ std::uint32_t scratch[kSurveyThreads / kWarp];
  __shared__ double bits[kSurveyThreads / kWarp];
  const bool predicted = job.outcome->is_predicted != 0;
  const bool hope = may_be_worth_it<Word>(job.elements, predicted, blockIdx.x, buckets, bits);
  if (threadIdx.x == 0) job.plans[blockIdx.x] = {PlaneTreatment::kRaw, 0, 0, 0, hope};
  if (!hope || predicted || !has_classes(job.elements, false)) return;
  const std::uint32_t channels = job.elements.channels;
  const std::uint32_t* const sums = job.sums + std::size_t{blockIdx.x} * channels;
  std::uint8_t* const class_of = job.class_of_channel + std::size_t{blockIdx.x} * (channels + kChannelRing);
  __syncthreads();
  for (std::uint32_t b = threadIdx.x; b < kBuckets; b += blockDim.x) buckets[b] = 0;
  __syncthreads();
  for (std::uint32_t c = threadIdx.x; c < channels; c += blockDim.x)
    atomicAdd(&buckets[sums[c] / kBucketBytes], 1u);
  __syncthreads();
  constexpr std::uint32_t kOwn = kBuckets / kSurveyThreads;  // buckets of a thread
  std::uint32_t own[kOwn], sum = 0, total = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) sum += own[i] = buckets[threadIdx.x * kOwn + i];
  std::uint32_t before = block_sum_before(sum, scratch, total);
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint64_t middle =
        (2 * std::uint64_t{before} + own[i]) * kFinest / (2 * std::uint64_t{channels});
    buckets[threadIdx.x * kOwn + i] = min(static_cast<std::uint32_t>(middle), kFinest - 1);
    before += own[i];
  }
  __syncthreads();
  for (std::uint32_t c = threadIdx.x; c < channels + kChannelRing; c += blockDim.x)
    class_of[c] = static_cast<std::uint8_t>(buckets[sums[c % channels] / kBucketBytes]);
}

// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5;

// Blocks share the elements; each counts up to two planes. Odd and even lanes have counters of their own,
// since neighbours are often alike.
template <class Word>
__global__ void __launch_bounds__(kCountThreads, 3) count_symbols(EncodeJob job) {
  constexpr std::uint32_t kCopies = 2, kAtOnce = sizeof(Word) == 1 ? 1 : 2,
                          kCounters = kCopies * kFinest * kRow;
  __shared__ std::uint32_t counts[kAtOnce * kCounters];
  __shared__ std::uint8_t class_of_context[kSymbols];
  const std::uint32_t first_plane = blockIdx.y * kAtOnce, channels = job.elements.channels;
  bool is_counted[kAtOnce], is_any = false;
  for (std::uint32_t p = 0; p < kAtOnce; ++p) is_any |= is_counted[p] = job.plans[first_plane + p].is_coded;
  if (!is_any) return;
  const bool predicted = job.outcome->is_predicted != 0;
  const bool classed = has_classes(job.elements, predicted);
  for (std::uint32_t i = threadIdx.x; i < kAtOnce * kCounters; i += kCountThreads) counts[i] = 0;
  if (predicted && threadIdx.x < kSymbols) class_of_context[threadIdx.x] = job.class_of_context[threadIdx.x];
  __syncthreads();
  const std::uint64_t share = (job.elements.count - 1) / gridDim.x + 1, begin = share * blockIdx.x;
  const std::uint64_t end = min(begin + share, job.elements.count);
  const std::uint32_t ring = channels + kChannelRing;
  const std::uint8_t* const class_of = job.class_of_channel + std::size_t{first_plane} * ring;
  const auto count = begin < end ? static_cast<std::uint32_t>(end - begin) : 0u;
  auto channel = static_cast<std::uint32_t>((begin + threadIdx.x) % channels);
  const std::uint32_t step = kCountThreads % channels;
  const NumberForm form = predicted ? NumberForm::kPredicted : job.elements.key_form;
  std::uint32_t* const own = counts + threadIdx.x % kCopies * kFinest * kRow;
  for (std::uint32_t first = threadIdx.x; first < count; first += kCountBatch * kCountThreads) {
    // All that is needed from memory at first, so that it is waited for once.
    Word now[kCountBatch], before[kCountBatch] = {};
    std::uint8_t classes[kAtOnce][kCountBatch] = {};
    const auto place = [&](std::uint32_t k) { return begin + min(first + k * kCountThreads, count - 1); };
#pragma unroll
    for (std::uint32_t k = 0; k < kCountBatch; ++k) now[k] = load_element<Word>(job.elements.now, place(k));
    if (predicted) {
#pragma unroll
      for (std::uint32_t k = 0; k < kCountBatch; ++k)
        before[k] = load_element<Word>(job.elements.before, place(k));
    } else if (classed) {
#pragma unroll
      for (std::uint32_t k = 0; k < kCountBatch; ++k) {
#pragma unroll
        for (std::uint32_t p = 0; p < kAtOnce; ++p) {
          if (is_counted[p]) classes[p][k] = __ldg(class_of + p * ring + channel);
        }
        channel += step;
        channel -= channel >= channels ? channels : 0;
      }
    }
#pragma unroll
    for (std::uint32_t k = 0; k < kCountBatch; ++k) {
      if (first + k * kCountThreads >= count) break;
      const Word number = number_as(form, now[k], before[k]);
      const std::uint32_t context =
          predicted && classed ? class_of_context[context_of(job.elements.key_form, before[k])] : 0;
#pragma unroll
      for (std::uint32_t p = 0; p < kAtOnce; ++p) {
        const std::uint32_t index = predicted ? context : classes[p][k];
        if (is_counted[p])
          atomicAdd(&own[p * kCounters + index * kRow + byte_of(number, first_plane + p)], 1u);
      }
    }
  }
  __syncthreads();
  for (std::uint32_t p = 0; p < kAtOnce; ++p) {
    if (!is_counted[p]) continue;
    std::uint32_t* const total = job.counts + std::size_t{first_plane + p} * kFinest * kSymbols;
    for (std::uint32_t i = threadIdx.x; i < kFinest * kSymbols; i += kCountThreads) {
      std::uint32_t of = 0;
      for (std::uint32_t copy = 0; copy < kCopies; ++copy)
        of += counts[p * kCounters + (copy * kFinest + i / kSymbols) * kRow + i % kSymbols];
      if (of != 0) atomicAdd(&total[i], of);
    }
  }
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  const ElementsOf& elements = job.elements;
  if (elements.before != nullptr) survey<Word><<<1, kSurveyThreads, 0, stream>>>(job);
  sum_channels<Word><<<(elements.channels - 1) / kWarp + 1, dim3(kWarp, kSumWarps), 0, stream>>>(job);
  prepare_planes<Word><<<elements.width, kSurveyThreads, 0, stream>>>(job);
  const std::uint64_t blocks = (elements.count - 1) / (8 * kCountThreads) + 1;
  const dim3 grid(blocks < kCountBlocks ? static_cast<std::uint32_t>(blocks) : kCountBlocks,
                  (elements.width + 1) / 2);
  count_symbols<Word><<<grid, kCountThreads, 0, stream>>>(job);
}

}  // namespace

void launch_statistics(const EncodeJob& job, cudaStream_t stream) {
  cudaMemsetAsync(job.outcome, 0, job.cleared_bytes, stream);
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
