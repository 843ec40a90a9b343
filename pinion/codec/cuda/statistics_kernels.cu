// What the choices of mode 1 rest on: whether prediction pays (from a sample), classes of channels or
// contexts (from a sample), and how often each byte occurs in each class (exactly).

#include "pinion/codec/cuda/chunk_sizes.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kSampleThreads = 512;
constexpr std::uint32_t kPrepareThreads = 1024;
constexpr std::uint32_t kBlock = 256;    // elements of a sample that lie together
constexpr std::uint32_t kBlocks = 32;    // of a sample
constexpr std::uint32_t kMostRows = 64;  // of a sample of channels
constexpr std::uint32_t kSumWarps = kSampleThreads / kWarp;
constexpr std::uint32_t kBuckets = 8192;
constexpr std::uint32_t kBucketBytes = 2;  // of the sum of a channel's sample: 64 bytes below 2^14
constexpr std::uint32_t kCountThreads = 256;
constexpr std::uint32_t kCountBatch = 8;
constexpr std::uint32_t kCountBlocks = 528;        // at most, of two planes
constexpr std::uint64_t kCountedInFull = 1 << 20;  // elements

static_assert(kMostRows * 255 / kBucketBytes < kBuckets);

// -count log2 count.
__device__ double information(std::uint32_t count) {
  return count == 0 ? 0.0
                    : -static_cast<double>(count) * static_cast<double>(log2f(static_cast<float>(count)));
}

struct ContextScratch {
  std::uint64_t keys[kSymbols];
  double weights[kSymbols];
  std::uint32_t order[kSymbols];
  std::uint32_t present[kSymbols / kWarp];
  std::uint8_t class_of[kSymbols];
};

// A sample: blocks of elements that lie together, spread evenly, one for each of kBlocks blocks of threads.
template <class Word>
__device__ void count_sample(const ElementsOf& elements, std::uint32_t block, SampleCounts& to) {
  const std::uint64_t blocks = (elements.count - 1) / kBlock + 1;
  const std::uint64_t at = block * ((blocks - 1) / kBlocks + 1) * kBlock + threadIdx.x;
  if (threadIdx.x >= kBlock || at >= elements.count) return;
  const Word now = load_element<Word>(elements.now, at);
  const Word key = number_as(elements.key_form, now, Word{0});
  for (std::uint32_t p = 0; p < sizeof(Word); ++p) atomicAdd(&to.bytes[0][p][byte_of(key, p)], 1u);
  if (elements.before == nullptr) return;
  const Word before = load_element<Word>(elements.before, at);
  const Word predicted = number_as(NumberForm::kPredicted, now, before);
  for (std::uint32_t p = 0; p < sizeof(Word); ++p) atomicAdd(&to.bytes[1][p][byte_of(predicted, p)], 1u);
  const std::uint32_t context = context_of(elements.key_form, before);
  atomicAdd(&to.contexts[context], 1u);
  atomicAdd(&to.context_sums[context], byte_of(predicted, 0));
}

// The sum of a channel's bytes of each plane over a sample of the rows. A block has 32 channels, a warp for
// each share of the rows.
template <class Word>
__device__ void sum_channels(const EncodeJob& job, std::uint32_t block) {
  __shared__ std::uint32_t parts[sizeof(Word)][kSumWarps][kWarp];
  const std::uint32_t lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const std::uint32_t channel = block * kWarp + lane, channels = job.elements.channels;
  const std::uint64_t rows = job.elements.count / channels, stride = (rows - 1) / kMostRows + 1;
  std::uint32_t sums[sizeof(Word)] = {};
  if (channel < channels) {
#pragma unroll 4
    for (std::uint64_t row = warp * stride; row < rows; row += kSumWarps * stride) {
      const Word now = load_element<Word>(job.elements.now, row * channels + channel);
      const Word number = number_as(job.elements.key_form, now, Word{0});
      for (std::uint32_t p = 0; p < sizeof(Word); ++p) sums[p] += byte_of(number, p);
    }
  }
  for (std::uint32_t p = 0; p < sizeof(Word); ++p) parts[p][warp][lane] = sums[p];
  __syncthreads();
  if (warp >= sizeof(Word) || channel >= channels) return;
  std::uint32_t sum = 0;
  for (std::uint32_t w = 0; w < kSumWarps; ++w) sum += parts[warp][w][lane];
  job.sums[std::size_t{warp} * channels + channel] = sum;
}

// Looks at samples. The first kBlocks blocks take one each.
template <class Word>
__global__ void __launch_bounds__(kSampleThreads) sample(EncodeJob job) {
  wait_for_earlier_work();
  if (job.mode == kLosslessMode) clear(job);
  if (blockIdx.x < kBlocks) {
    count_sample<Word>(job.elements, blockIdx.x, *job.samples);
  } else {
    sum_channels<Word>(job, blockIdx.x - kBlocks);
  }
}

// Bits of a plane's sample, by a block, to all its threads.
__device__ double bits_of_sample(const std::uint32_t (&counts)[kSymbols], double* scratch, double& total) {
  const std::uint32_t own = threadIdx.x < kSymbols ? counts[threadIdx.x] : 0;
  total = block_sum(static_cast<double>(own), scratch);
  return block_sum(information(own), scratch) + total * static_cast<double>(log2f(static_cast<float>(total)));
}

// Whether a sample leaves hope that coding the plane pays.
__device__ bool may_be_worth_it(double bits, double total) {
  constexpr double kHopeless = 0.985;  // of the raw size
  // A small sample of random bytes looks less random than it is.
  return bits + min(256.0, total) / 1.4 < kHopeless * 8 * total;
}

// Contexts in classes of about equal weight, in the order of the mean of the bytes that come with them;
// those with larger bytes weigh more. One that does not occur is classed like the one before it.
__device__ void class_contexts(const SampleCounts& sample, ContextScratch& scratch, double* sums,
                               std::uint8_t* class_of) {
  constexpr std::uint64_t kUnits = 1 << 16;
  const std::uint32_t c = threadIdx.x;
  if (c < kSymbols) {
    const std::uint32_t count = sample.contexts[c];
    const std::uint64_t mean = count == 0 ? 0 : sample.context_sums[c] * kUnits / count;
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
  const bool mine = c < kSymbols && sample.contexts[scratch.order[c]] != 0;
  const std::uint32_t context = mine ? scratch.order[c] : 0;
  const double weight = mine ? scratch.weights[context] : 0;
  double total = 0;
  const double before = block_sum_before(weight, sums, total);
  if (mine) {
    const double middle = (before + weight / 2) / total * kFinest;
    scratch.class_of[context] =
        static_cast<std::uint8_t>(min(static_cast<std::uint32_t>(middle), kFinest - 1));
  }
  const std::uint32_t present = __ballot_sync(0xffffffffu, c < kSymbols && sample.contexts[c] != 0);
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

// Classes of about as many channels, in the order of the sums.
__device__ void class_channels(const std::uint32_t* sums, std::uint32_t channels, std::uint32_t* buckets,
                               std::uint32_t* scratch, std::uint8_t* class_of) {
  for (std::uint32_t b = threadIdx.x; b < kBuckets; b += blockDim.x) buckets[b] = 0;
  __syncthreads();
  for (std::uint32_t c = threadIdx.x; c < channels; c += blockDim.x)
    atomicAdd(&buckets[sums[c] / kBucketBytes], 1u);
  __syncthreads();
  constexpr std::uint32_t kOwn = kBuckets / kPrepareThreads;  // buckets of a thread
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

// A block for each plane: whether it is to be counted, and its classes of channels; and where there is a
// tensor before, another one: whether the frame is predicted, and classes of contexts.
__global__ void __launch_bounds__(kPrepareThreads) prepare_planes(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint32_t buckets[kBuckets];
  __shared__ std::uint32_t scratch[kPrepareThreads / kWarp];
  __shared__ double sums[kPrepareThreads / kWarp];
  static_assert(sizeof(ContextScratch) <= sizeof(buckets));
  const SampleCounts& counted = *job.samples;
  const std::uint32_t width = job.elements.width, channels = job.elements.channels, plane = blockIdx.x;
  double key = 0, change = 0, total = 0, own_bits[2] = {};  // a key frame's and a predicted one's
  for (std::uint32_t p = 0; p < width; ++p) {
    const bool is_own = p == plane;
    if (job.elements.before == nullptr && !is_own) continue;
    const double bits = bits_of_sample(counted.bytes[0][p], sums, total);
    key += bits;
    if (is_own) own_bits[0] = bits;
    if (job.elements.before == nullptr) continue;
    const double changed = bits_of_sample(counted.bytes[1][p], sums, total);
    change += changed;
    if (is_own) own_bits[1] = changed;
  }
  const bool predicted = job.elements.before != nullptr && change < key;
  if (plane == width) {
    if (threadIdx.x == 0) job.outcome->is_predicted = job.outcome->refers = predicted;
    class_contexts(counted, reinterpret_cast<ContextScratch&>(buckets), sums, job.class_of_context);
    return;
  }
  const bool hope = may_be_worth_it(own_bits[predicted ? 1 : 0], total);
  if (threadIdx.x == 0) job.plans[plane] = {PlaneTreatment::kRaw, 0, 0, 0, hope};
  if (!hope || predicted || !has_classes(job.elements, false)) return;
  class_channels(job.sums + std::size_t{plane} * channels, channels, buckets, scratch,
                 job.class_of_channel + std::size_t{plane} * (channels + kChannelRing));
}

// Rows of tables in shared memory lie that far apart, so that classes whose symbols are alike use other
// banks.
constexpr std::uint32_t kRow = kSymbols + 5, kMarkRow = kSymbols + 20;

// What a block of count_symbols() counts in, and how classes are found.
template <class Word>
struct Counting {
  std::uint32_t* counts;         // of this thread's copy, rows of kRow
  std::uint8_t* occurs;          // rows of kMarkRow
  const std::uint8_t* class_of;  // of channels, null if they have none; of contexts in a predicted frame
  const Word *now, *before;      // the block's elements
  std::uint32_t turn;            // brings the plane's byte of a key frame's element to the right
  std::uint32_t plane, channels;
  NumberForm key_form;
  bool counts_all;
};

// kCountBatch elements of a thread, those at and behind `count` left out if not all are there.
template <bool kPredicted, bool kWhole, class Word>
__device__ void count_batch(const Counting<Word>& with, std::uint32_t first, std::uint32_t count,
                            std::uint32_t& channel) {
  // All that is needed from memory at first, so that it is waited for once.
  Word now[kCountBatch], before[kCountBatch];
  std::uint8_t classes[kCountBatch] = {};
  const auto place = [&](std::uint32_t k) {
    return kWhole ? first + k * kCountThreads : min(first + k * kCountThreads, count - 1);
  };
  const std::uint32_t step = kCountThreads % with.channels;
#pragma unroll
  for (std::uint32_t k = 0; k < kCountBatch; ++k) {
    now[k] = __ldg(with.now + place(k));
    if constexpr (kPredicted) before[k] = __ldg(with.before + place(k));
  }
  if (!kPredicted && with.class_of != nullptr) {
#pragma unroll
    for (std::uint32_t k = 0; k < kCountBatch; ++k) {
      classes[k] = __ldg(with.class_of + channel);
      channel += step;
      channel -= channel >= with.channels ? with.channels : 0;
    }
  }
#pragma unroll
  for (std::uint32_t k = 0; k < kCountBatch; ++k) {
    if (!kWhole && first + k * kCountThreads >= count) break;
    std::uint32_t symbol, of = classes[k];
    if constexpr (kPredicted) {
      symbol = byte_of(number_of<NumberForm::kPredicted>(now[k], before[k]), with.plane);
      if (with.class_of != nullptr) of = with.class_of[context_of(with.key_form, before[k])];
    } else {
      symbol = key_byte(now[k], with.turn);
    }
    if (k == 0 || with.counts_all) {
      atomicAdd(&with.counts[of * kRow + symbol], 1u);
    } else {
      with.occurs[of * kMarkRow + symbol] = 1;
    }
  }
}

template <bool kPredicted, class Word>
__device__ void count_share(const Counting<Word>& with, std::uint64_t begin, std::uint32_t count) {
  constexpr std::uint32_t kElements = kCountBatch * kCountThreads;
  auto channel = static_cast<std::uint32_t>((begin + threadIdx.x) % with.channels);
  std::uint32_t first = threadIdx.x;
  for (; first - threadIdx.x + kElements <= count; first += kElements)
    count_batch<kPredicted, true>(with, first, count, channel);
  if (first < count) count_batch<kPredicted, false>(with, first, count, channel);
}

// Blocks share the elements, for each plane. Which bytes occur is found exactly. How often, by one in
// kCountBatch of large tensors: a count has to be right to a percent. Odd and even lanes have counters of
// their own, since neighbours are often alike.
template <class Word>
__global__ void __launch_bounds__(kCountThreads, 4) count_symbols(EncodeJob job) {
  wait_for_earlier_work();
  constexpr std::uint32_t kCopies = 2;
  __shared__ std::uint32_t counts[kCopies * kFinest * kRow];
  __shared__ alignas(4) std::uint8_t occurs[kFinest * kMarkRow];
  __shared__ std::uint8_t class_of_context[kSymbols];
  const std::uint32_t plane = blockIdx.y, channels = job.elements.channels;
  if (!job.plans[plane].is_coded) return;
  const bool predicted = job.outcome->is_predicted != 0;
  const bool classed = has_classes(job.elements, predicted);
  for (std::uint32_t i = threadIdx.x; i < kCopies * kFinest * kRow; i += kCountThreads) counts[i] = 0;
  for (std::uint32_t i = threadIdx.x; i < sizeof(occurs) / 4; i += kCountThreads)
    reinterpret_cast<std::uint32_t*>(occurs)[i] = 0;
  if (predicted && threadIdx.x < kSymbols) class_of_context[threadIdx.x] = job.class_of_context[threadIdx.x];
  __syncthreads();
  const std::uint64_t share = (job.elements.count - 1) / gridDim.x + 1, begin = share * blockIdx.x;
  const std::uint64_t end = min(begin + share, job.elements.count);
  const std::uint8_t* const of_channel =
      job.class_of_channel + std::size_t{plane} * (channels + kChannelRing);
  const Counting<Word> with{counts + threadIdx.x % kCopies * kFinest * kRow,
                            occurs,
                            !classed    ? nullptr
                            : predicted ? class_of_context
                                        : of_channel,
                            reinterpret_cast<const Word*>(job.elements.now) + begin,
                            reinterpret_cast<const Word*>(job.elements.before) + begin,
                            key_turn<Word>(job.elements.key_form, plane),
                            plane,
                            channels,
                            job.elements.key_form,
                            job.elements.count < kCountedInFull};
  const auto count = begin < end ? static_cast<std::uint32_t>(end - begin) : 0u;
  if (predicted) {
    count_share<true>(with, begin, count);
  } else {
    count_share<false>(with, begin, count);
  }
  __syncthreads();
  const std::uint32_t weight = with.counts_all ? 1 : kCountBatch;
  std::uint32_t* const total = job.counts + std::size_t{plane} * kFinest * kSymbols;
  for (std::uint32_t i = threadIdx.x; i < kFinest * kSymbols; i += kCountThreads) {
    std::uint32_t of = 0;
    for (std::uint32_t copy = 0; copy < kCopies; ++copy)
      of += counts[(copy * kFinest + i / kSymbols) * kRow + i % kSymbols];
    of = max(of * weight, std::uint32_t{occurs[i / kSymbols * kMarkRow + i % kSymbols]});
    if (of != 0) atomicAdd(&total[i], of);
  }
}

template <class Word>
void launch_as(const EncodeJob& job, cudaStream_t stream) {
  const ElementsOf& elements = job.elements;
  const std::uint32_t sums = has_classes(elements, false) ? (elements.channels - 1) / kWarp + 1 : 0;
  start_behind(sample<Word>, kBlocks + sums, kSampleThreads, 0, stream, job);
  start_behind(prepare_planes, elements.width + (elements.before != nullptr ? 1 : 0), kPrepareThreads, 0,
               stream, job);
  const std::uint64_t blocks = (elements.count - 1) / (8 * kCountThreads) + 1;
  const dim3 grid(blocks < kCountBlocks ? static_cast<std::uint32_t>(blocks) : kCountBlocks, elements.width);
  start_behind(count_symbols<Word>, grid, kCountThreads, 0, stream, job);
}

}  // namespace

void launch_statistics(const EncodeJob& job, cudaStream_t stream) {
  if (job.elements.width == 1) return launch_as<std::uint8_t>(job, stream);
  if (job.elements.width == 2) return launch_as<std::uint16_t>(job, stream);
  launch_as<std::uint32_t>(job, stream);
}

}  // namespace pinion::codec::cuda
