// What becomes of each plane: raw, constant, or coded in how many classes; the tables of these, for the coder
// and as bits of the frame. A block for each plane, a warp for each class. The rules are those of
// pinion/codec/lossless/plane_classes.h, so that frames are as small as a CPU's.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = kFinest * kWarp;
constexpr std::uint32_t kOwn = kSymbols / kWarp;  // symbols of a lane: successive ones
constexpr double kWorthCoding = 0.98;             // of the raw size
constexpr double kTableBitsPerSymbol = 9;
constexpr double kContextMapEntries = 40;

__device__ double information(std::uint32_t count) {
  return count == 0 ? 0.0
                    : static_cast<double>(count) * static_cast<double>(log2f(static_cast<float>(count)));
}

__device__ std::uint32_t bit_width_of(std::uint32_t value) {
  return value == 0 ? 0 : 32 - static_cast<std::uint32_t>(__clz(static_cast<int>(value)));
}

struct Code {
  std::uint32_t bits = 0;  // at most 25
  std::uint32_t length = 0;

  __device__ void add(std::uint32_t value, std::uint32_t count) {
    bits |= value << length;
    length += count;
  }
  __device__ void add_gamma(std::uint32_t value) {
    const std::uint32_t low = bit_width_of(value) - 1;
    add(1u << low, low + 1);
    add(value - (1u << low), low);
  }
};

__device__ void put_bits(std::uint32_t* words, std::uint32_t at, const Code& code) {
  if (code.length == 0) return;
  const std::uint64_t shifted = std::uint64_t{code.bits} << (at % 32);
  atomicOr(words + at / 32, static_cast<std::uint32_t>(shifted));
  if (at % 32 + code.length > 32) atomicOr(words + at / 32 + 1, static_cast<std::uint32_t>(shifted >> 32));
}

// A lane's codes of a sequence that a warp writes, each lane's in order.
struct OwnCodes {
  Code codes[kOwn];

  __device__ std::uint32_t length() const {
    std::uint32_t sum = 0;
    for (const Code& code : codes) sum += code.length;
    return sum;
  }
  // From place `from` of the words on, by all lanes of the warp.
  __device__ void put(std::uint32_t* words, std::uint32_t from, std::uint32_t lane) const {
    std::uint32_t at = from + warp_sum_before(length(), lane);
    for (const Code& code : codes) {
      put_bits(words, at, code);
      at += code.length;
    }
  }
};

// Which of 256 things something holds for, a byte for each lane.
struct Marks {
  std::uint32_t words[kSymbols / 32];

  // All lanes of a warp, of their own eight.
  __device__ void set(std::uint32_t lane, std::uint32_t own) {
    reinterpret_cast<std::uint8_t*>(words)[lane] = static_cast<std::uint8_t>(own);
    __syncwarp();
  }
  // The first marked one behind `place`, 256 if there is none.
  __device__ std::uint32_t next(std::uint32_t place) const {
    std::uint32_t word = (place + 1) / 32;
    if (word == kSymbols / 32) return kSymbols;
    std::uint32_t rest = words[word] & (0xffffffffu << ((place + 1) % 32));
    while (rest == 0 && ++word < kSymbols / 32) rest = words[word];
    return rest == 0 ? kSymbols : 32 * word + static_cast<std::uint32_t>(__ffs(static_cast<int>(rest))) - 1;
  }
};

struct Scratch {
  std::uint32_t counts[kFinest][kSymbols];
  std::uint16_t frequencies[kFinest][kSymbols], starts[kFinest][kSymbols];
  std::uint32_t totals[kFinest];      // of the finest classes
  std::uint32_t merged[kFinest];      // what they became
  std::uint32_t table_bits[kFinest];  // of each class that is left
  Marks marks[kFinest];
  double sums[kThreads / kWarp];
};

// What stands in the frame for the frequencies of a lane's symbols (docs/format.md §4.3).
__device__ OwnCodes frequency_codes(const std::uint16_t* frequencies, Marks& used, std::uint32_t lane) {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) mask |= (frequencies[lane * kOwn + i] != 0 ? 1u : 0u) << i;
  used.set(lane, mask);
  OwnCodes own;
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint32_t symbol = lane * kOwn + i, f = frequencies[symbol];
    const bool behind_zero = symbol > 0 && frequencies[symbol - 1] == 0;
    if (f != 0) {
      own.codes[i].add_gamma(behind_zero ? f : f + 1);
    } else if (!behind_zero) {
      const std::uint32_t next = used.next(symbol);
      if (next == kSymbols) continue;  // the sum is reached
      own.codes[i].add_gamma(1);
      own.codes[i].add_gamma(next - symbol);
    }
  }
  return own;
}

// Runs of contexts of one class, at their first contexts.
__device__ OwnCodes run_codes(const std::uint8_t* finest, const std::uint32_t* merged, Marks& begins,
                              std::uint32_t width, std::uint32_t lane) {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint32_t context = lane * kOwn + i;
    const bool is_first = context == 0 || merged[finest[context - 1]] != merged[finest[context]];
    mask |= (is_first ? 1u : 0u) << i;
  }
  begins.set(lane, mask);
  OwnCodes own;
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint32_t context = lane * kOwn + i;
    if ((mask >> i & 1) == 0) continue;
    own.codes[i].add(merged[finest[context]], width);
    own.codes[i].add_gamma(begins.next(context) - context);
  }
  return own;
}

// Frequencies of a class by one warp, from counts of which one at least is positive. As normalise_counts() of
// pinion/codec/entropy/rans.h: which symbols get 1 does not depend on the order in which that is found out.
__device__ void normalise(const std::uint32_t* counts, std::uint32_t lane, std::uint16_t* frequencies,
                          std::uint16_t* starts) {
  std::uint64_t own[kOwn], shared = 0, slots = kSlots;
  std::uint32_t frequency[kOwn] = {};
  for (std::uint32_t i = 0; i < kOwn; ++i) shared += own[i] = counts[lane * kOwn + i];
  shared = warp_sum(shared);
  for (bool changed = true; changed;) {
    std::uint64_t taken = 0;
    std::uint32_t ones = 0;
    for (std::uint32_t i = 0; i < kOwn; ++i) {
      if (own[i] == 0 || frequency[i] != 0 || own[i] * slots >= shared) continue;
      frequency[i] = 1;
      taken += own[i];
      ++ones;
    }
    ones = warp_sum(ones);
    shared -= warp_sum(taken);
    slots -= ones;
    changed = ones != 0;
  }
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) sum += frequency[i] == 0 ? own[i] : 0;
  sum = warp_sum_before(sum, lane);
  std::uint32_t total = 0;
  const auto slots_before = [&] { return (sum * slots + shared / 2) / max(shared, std::uint64_t{1}); };
  std::uint64_t begin = slots_before();
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    if (own[i] != 0 && frequency[i] == 0) {
      sum += own[i];
      const std::uint64_t end = slots_before();
      frequency[i] = static_cast<std::uint32_t>(end - begin);
      begin = end;
    }
    total += frequency[i];
  }
  std::uint32_t start = warp_sum_before(total, lane);
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    frequencies[lane * kOwn + i] = static_cast<std::uint16_t>(frequency[i]);
    starts[lane * kOwn + i] = static_cast<std::uint16_t>(start);
    start += frequency[i];
  }
  __syncwarp();
}

// Bits that a plane takes if each `stride` of the finest classes become one, with its tables.
__device__ double bits_with(Scratch& scratch, std::uint32_t stride) {
  double bits = 0;
  for (std::uint32_t i = threadIdx.x; i < kFinest / stride * kSymbols; i += kThreads) {
    std::uint32_t count = 0;
    for (std::uint32_t k = 0; k < stride; ++k)
      count += scratch.counts[i / kSymbols * stride + k][i % kSymbols];
    bits += count == 0 ? 0 : kTableBitsPerSymbol - information(count);
  }
  if (threadIdx.x < kFinest / stride) {
    std::uint32_t total = 0;
    for (std::uint32_t k = 0; k < stride; ++k) total += scratch.totals[threadIdx.x * stride + k];
    bits += information(total);
  }
  return block_sum(bits, scratch.sums);
}

// How many of the finest classes become one, and 0 if the plane stays raw.
__device__ std::uint32_t choose_stride(const EncodeJob& job, bool predicted, Scratch& scratch) {
  if (!has_classes(job.elements, predicted)) {
    const double bits = bits_with(scratch, kFinest);
    return bits > kWorthCoding * 8 * static_cast<double>(job.elements.count) ? 0 : kFinest;
  }
  const double entries = predicted ? kContextMapEntries : job.elements.channels;
  double least = 0;
  std::uint32_t best = 0;
  for (std::uint32_t stride = 1; stride <= kFinest; stride *= 2) {
    const double bits = entries * bit_width_of(kFinest / stride - 1) + bits_with(scratch, stride);
    if (best != 0 && bits >= least) continue;
    least = bits;
    best = stride;
  }
  return least > kWorthCoding * 8 * static_cast<double>(job.elements.count) ? 0 : best;
}

// Puts the counts of the classes that are left in front, says what each of the finest became, and returns how
// many are left.
__device__ std::uint32_t merge_classes(Scratch& scratch, std::uint32_t stride) {
  const std::uint32_t warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  std::uint32_t counts[kOwn] = {};
  std::uint32_t used[kFinest], classes = 0;
  for (std::uint32_t k = 0; k < kFinest / stride; ++k) {
    std::uint32_t total = 0;
    for (std::uint32_t j = 0; j < stride; ++j) total += scratch.totals[k * stride + j];
    used[k] = classes;
    const bool is_used = total > 0;
    if (is_used && classes == warp) {
      for (std::uint32_t j = 0; j < stride; ++j) {
        for (std::uint32_t i = 0; i < kOwn; ++i) counts[i] += scratch.counts[k * stride + j][lane * kOwn + i];
      }
    }
    classes += is_used;
  }
  __syncthreads();
  for (std::uint32_t i = 0; i < kOwn; ++i) scratch.counts[warp][lane * kOwn + i] = counts[i];
  if (threadIdx.x == 0) {
    for (std::uint32_t k = 0; k < kFinest; ++k) scratch.merged[k] = min(used[k / stride], classes - 1);
  }
  __syncthreads();
  return classes;
}

// The class map as bits, by all threads; returns their number.
__device__ std::uint32_t put_map(const EncodeJob& job, Scratch& scratch, std::uint32_t classes,
                                 bool predicted, std::uint32_t* words) {
  const std::uint32_t width = bit_width_of(classes - 1), warp = threadIdx.x / kWarp,
                      lane = threadIdx.x % kWarp;
  if (classes == 1) return 0;
  if (predicted) {
    // Every warp measures, the first one writes.
    const OwnCodes own = run_codes(job.class_of_context, scratch.merged, scratch.marks[warp], width, lane);
    if (warp == 0) own.put(words, 0, lane);
    return warp_sum(own.length());
  }
  // 32 channels fill whole words.
  const std::uint32_t channels = job.elements.channels;
  const std::uint8_t* const finest =
      job.class_of_channel + std::size_t{blockIdx.x} * (channels + kChannelRing);
  for (std::uint32_t first = threadIdx.x * 32; first < channels; first += kThreads * 32) {
    // All of them at first, so that they are waited for once.
    std::uint8_t classes[32];
#pragma unroll
    for (std::uint32_t i = 0; i < 32; ++i) classes[i] = __ldg(finest + min(first + i, channels - 1));
    std::uint64_t bits = 0;
    std::uint32_t filled = 0, word = first / 32 * width;
#pragma unroll
    for (std::uint32_t i = 0; i < 32; ++i) {
      const std::uint32_t of = first + i < channels ? scratch.merged[classes[i]] : 0;
      bits |= std::uint64_t{of} << filled;
      filled += width;
      if (filled < 32) continue;
      words[word++] = static_cast<std::uint32_t>(bits);
      bits >>= 32;
      filled -= 32;
    }
  }
  return channels * width;
}

__global__ void __launch_bounds__(kThreads) choose(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ Scratch scratch;
  const std::uint32_t plane = blockIdx.x, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  // Nobody looks at the samples any more.
  for (std::uint32_t i = threadIdx.x; plane == 0 && i < sizeof(SampleCounts) / 4; i += kThreads)
    reinterpret_cast<std::uint32_t*>(job.samples)[i] = 0;
  if (!job.plans[plane].is_coded) return;  // it is not worth a look
  const bool predicted = job.outcome->is_predicted != 0;
  const std::uint32_t* const counts = job.counts + std::size_t{plane} * kFinest * kSymbols;
  std::uint32_t total = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint32_t count = counts[warp * kSymbols + lane * kOwn + i];
    scratch.counts[warp][lane * kOwn + i] = count;
    total += count;
  }
  total = warp_sum(total);
  if (lane == 0) scratch.totals[warp] = total;
  __syncthreads();

  PlanePlan plan{PlaneTreatment::kRaw, 0, 0, 0, false};
  // The bytes that occur, by the threads that each look at one.
  bool occurs = false;
  for (std::uint32_t k = 0; k < kFinest && threadIdx.x < kSymbols; ++k)
    occurs = occurs || scratch.counts[k][threadIdx.x] != 0;
  const int symbols = __syncthreads_count(occurs);
  if (symbols == 1) {
    if (occurs) {
      plan.treatment = PlaneTreatment::kConstant;
      plan.constant = threadIdx.x;
      job.plans[plane] = plan;
    }
    return;
  }
  const std::uint32_t stride = choose_stride(job, predicted, scratch);
  if (stride == 0) {
    if (threadIdx.x == 0) job.plans[plane] = plan;
    return;
  }
  const std::uint32_t classes = merge_classes(scratch, stride);
  std::uint32_t* const words = job.headers + std::size_t{plane} * job.map_words;
  std::uint32_t bits = put_map(job, scratch, classes, predicted, words);
  OwnCodes own;
  if (warp < classes) {
    normalise(scratch.counts[warp], lane, scratch.frequencies[warp], scratch.starts[warp]);
    own = frequency_codes(scratch.frequencies[warp], scratch.marks[warp], lane);
    const std::uint32_t length = warp_sum(own.length());
    if (lane == 0) scratch.table_bits[warp] = length;
  }
  __syncthreads();
  std::uint32_t mine = 0;
  for (std::uint32_t k = 0; k < classes; ++k) {
    if (k == warp) mine = bits;
    bits += scratch.table_bits[k];
  }
  if (warp < classes) own.put(words, mine, lane);
  const std::uint32_t merged = scratch.merged[warp];
  uint2* const table = job.tables + (std::size_t{plane} * kFinest + warp) * kSymbols;
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    const std::uint32_t s = i * kWarp + lane, f = scratch.frequencies[merged][s];
    table[s] = make_uint2(lane_reciprocal(f), f | std::uint32_t{scratch.starts[merged][s]} << 16);
  }
  if (threadIdx.x != 0) return;
  plan.treatment = predicted && classes > 1 ? PlaneTreatment::kByContext : PlaneTreatment::kByChannel;
  plan.classes = classes;
  plan.header_bits = bits;
  plan.is_coded = true;
  job.plans[plane] = plan;
}

}  // namespace

void launch_choices(const EncodeJob& job, cudaStream_t stream) {
  start_behind(choose, job.elements.width, kThreads, 0, stream, job);
}

}  // namespace pinion::codec::cuda
