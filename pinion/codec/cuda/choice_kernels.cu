// What becomes of each plane: raw, constant, or coded in how many classes; the tables of these, for the coder
// and as bits of the frame. A block for each plane, a warp for each class. The rules are those of
// pinion/codec/lossless/plane_classes.h, so that frames are as small as a CPU's.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = kClasses * kWarp;
constexpr std::uint32_t kOwn = kSymbols / kWarp;  // symbols of a lane: successive ones
constexpr double kWorthCoding = 0.98;             // of the raw size
constexpr double kTableBitsPerSymbol = 9;
constexpr double kContextMapEntries = 40;

struct Scratch {
  std::uint32_t counts[kClasses][kSymbols];
  std::uint16_t frequencies[kClasses][kSymbols], starts[kClasses][kSymbols];
  std::uint32_t totals[kClasses];      // of the finest classes
  std::uint32_t merged[kClasses];      // what they became
  std::uint32_t table_bits[kClasses];  // of each class that is left
  double sums[kThreads / kWarp];
  std::uint32_t levels_done;
};

__device__ double information(std::uint32_t count) {
  return count == 0 ? 0.0
                    : static_cast<double>(count) * static_cast<double>(log2f(static_cast<float>(count)));
}

__device__ std::uint32_t bit_width_of(std::uint32_t value) {
  return value == 0 ? 0 : 32 - static_cast<std::uint32_t>(__clz(static_cast<int>(value)));
}

struct Code {
  std::uint64_t bits = 0;
  std::uint32_t length = 0;

  __device__ void add(std::uint64_t value, std::uint32_t count) {
    bits |= value << length;
    length += count;
  }
  __device__ void add_gamma(std::uint32_t value) {
    const std::uint32_t low = bit_width_of(value) - 1;
    add(std::uint64_t{1} << low | std::uint64_t{value - (1u << low)} << (low + 1), 2 * low + 1);
  }
};

__device__ void put_bits(std::uint32_t* words, std::uint32_t at, const Code& code) {
  if (code.length == 0) return;
  const std::uint32_t shift = at % 32;
  std::uint32_t* const word = words + at / 32;
  const std::uint64_t low = code.bits << shift;
  atomicOr(word, static_cast<std::uint32_t>(low));
  if (shift + code.length > 32) atomicOr(word + 1, static_cast<std::uint32_t>(low >> 32));
  if (shift + code.length > 64) atomicOr(word + 2, static_cast<std::uint32_t>(code.bits >> (64 - shift)));
}

// The codes of a warp one behind the other, each lane's kOwn in order; `from` is the first one's place. With
// `words` null they are only measured. Returns their length.
template <class CodeOf>
__device__ std::uint32_t put_codes(std::uint32_t* words, std::uint32_t from, std::uint32_t lane,
                                   CodeOf code_of) {
  std::uint32_t own = 0;
  for (std::uint32_t i = 0; i < kOwn; ++i) own += code_of(lane * kOwn + i).length;
  std::uint32_t at = from + warp_sum_before(own, lane);
  if (words != nullptr) {
    for (std::uint32_t i = 0; i < kOwn; ++i) {
      const Code code = code_of(lane * kOwn + i);
      put_bits(words, at, code);
      at += code.length;
    }
  }
  return warp_sum(own);
}

// What stands in the frame for a symbol's frequency (docs/format.md §4.3).
__device__ Code frequency_code(const std::uint16_t* frequencies, std::uint32_t symbol) {
  Code code;
  const std::uint32_t f = frequencies[symbol];
  const bool behind_zero = symbol > 0 && frequencies[symbol - 1] == 0;
  if (f != 0) {
    code.add_gamma(behind_zero ? f : f + 1);
  } else if (!behind_zero) {
    std::uint32_t next = symbol + 1;
    while (next < kSymbols && frequencies[next] == 0) ++next;
    if (next == kSymbols) return code;  // the sum is reached
    code.add_gamma(1);
    code.add_gamma(next - symbol);
  }
  return code;
}

// A run of contexts of one class, at its first context.
__device__ Code run_code(const std::uint8_t* finest, const std::uint32_t* merged, std::uint32_t width,
                         std::uint32_t context) {
  Code code;
  const std::uint32_t index = merged[finest[context]];
  if (context > 0 && merged[finest[context - 1]] == index) return code;
  std::uint32_t end = context + 1;
  while (end < kSymbols && merged[finest[end]] == index) ++end;
  code.add(index, width);
  code.add_gamma(end - context);
  return code;
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
  for (std::uint32_t i = 0; i < kOwn; ++i) {
    if (own[i] != 0 && frequency[i] == 0) {
      const std::uint64_t begin = (sum * slots + shared / 2) / shared;
      sum += own[i];
      frequency[i] = static_cast<std::uint32_t>((sum * slots + shared / 2) / shared - begin);
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
  for (std::uint32_t i = threadIdx.x; i < kClasses / stride * kSymbols; i += kThreads) {
    std::uint32_t count = 0;
    for (std::uint32_t k = 0; k < stride; ++k)
      count += scratch.counts[i / kSymbols * stride + k][i % kSymbols];
    bits += count == 0 ? 0 : kTableBitsPerSymbol - information(count);
  }
  if (threadIdx.x < kClasses / stride) {
    std::uint32_t total = 0;
    for (std::uint32_t k = 0; k < stride; ++k) total += scratch.totals[threadIdx.x * stride + k];
    bits += information(total);
  }
  return block_sum(bits, scratch.sums);
}

// How many of the finest classes become one, and 0 if the plane stays raw.
__device__ std::uint32_t choose_stride(const EncodeJob& job, bool predicted, Scratch& scratch) {
  if (!has_classes(job.elements, predicted)) {
    const double bits = bits_with(scratch, kClasses);
    return bits > kWorthCoding * 8 * static_cast<double>(job.elements.count) ? 0 : kClasses;
  }
  const double entries = predicted ? kContextMapEntries : job.elements.channels;
  double least = 0;
  std::uint32_t best = 0;
  for (std::uint32_t stride = 1; stride <= kClasses; stride *= 2) {
    const double bits = entries * bit_width_of(kClasses / stride - 1) + bits_with(scratch, stride);
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
  std::uint32_t used[kClasses], classes = 0;
  for (std::uint32_t k = 0; k < kClasses / stride; ++k) {
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
    for (std::uint32_t k = 0; k < kClasses; ++k) scratch.merged[k] = min(used[k / stride], classes - 1);
  }
  __syncthreads();
  return classes;
}

// The class map as bits; returns their number.
__device__ std::uint32_t put_map(const EncodeJob& job, const Scratch& scratch, std::uint32_t classes,
                                 bool predicted, std::uint32_t* words) {
  const std::uint32_t width = bit_width_of(classes - 1), warp = threadIdx.x / kWarp,
                      lane = threadIdx.x % kWarp;
  if (classes == 1) return 0;
  if (predicted) {
    // Every warp measures, the first one writes.
    return put_codes(warp == 0 ? words : nullptr, 0, lane, [&](std::uint32_t context) {
      return run_code(job.class_of_context, scratch.merged, width, context);
    });
  }
  const std::uint32_t channels = job.elements.channels;
  const std::uint8_t* const finest =
      job.class_of_channel + std::size_t{blockIdx.x} * (channels + kChannelRing);
  for (std::uint32_t c = threadIdx.x; c < channels; c += kThreads) {
    Code code;
    code.add(scratch.merged[finest[c]], width);
    put_bits(words, c * width, code);
  }
  return channels * width;
}

__global__ void choose(EncodeJob job) {
  __shared__ Scratch scratch;
  const std::uint32_t plane = blockIdx.x, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const bool predicted = job.outcome->is_predicted != 0;
  const std::uint32_t* const counts = job.counts + std::size_t{plane} * kClasses * kSymbols;
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
  for (std::uint32_t k = 0; k < kClasses && threadIdx.x < kSymbols; ++k)
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
  if (warp < classes) {
    normalise(scratch.counts[warp], lane, scratch.frequencies[warp], scratch.starts[warp]);
    const auto code_of = [&](std::uint32_t symbol) {
      return frequency_code(scratch.frequencies[warp], symbol);
    };
    const std::uint32_t length = put_codes(nullptr, 0, lane, code_of);
    if (lane == 0) scratch.table_bits[warp] = length;
  }
  __syncthreads();
  std::uint32_t mine = 0;
  for (std::uint32_t k = 0; k < classes; ++k) {
    if (k == warp) mine = bits;
    bits += scratch.table_bits[k];
  }
  if (warp < classes) {
    const auto code_of = [&](std::uint32_t symbol) {
      return frequency_code(scratch.frequencies[warp], symbol);
    };
    put_codes(words, mine, lane, code_of);
  }
  const std::uint32_t merged = scratch.merged[warp];
  uint2* const table = job.tables + (std::size_t{plane} * kClasses + warp) * kSymbols;
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
  choose<<<job.elements.width, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
