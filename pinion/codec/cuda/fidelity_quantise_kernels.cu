// Residuals at the chosen step (docs/format.md §6.4) of components and means, and what each table class would
// take for them.

#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/fidelity_residual.cuh"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kWarps = kThreads / 32;
constexpr std::uint32_t kMeanThreads = 1024;
constexpr float kMostIndex = 67108860.0f;  // below 2^26
constexpr std::int64_t kMostState = (1 << 30) - 1;
constexpr std::uint32_t kPredictionShift = 22;
constexpr std::uint32_t kRareScales = 11;
constexpr std::uint32_t kPrices = kClassShapes * kClassScales;

// Bits of numbers that `counts` has by magnitude, in every class.
__device__ void price_classes(const ClassTables& tables, const std::uint32_t (&counts)[kMagnitudeBins],
                              float (&prices)[kPrices]) {
  std::uint32_t used = kMagnitudeBins;
  while (used > 1 && counts[used - 1] == 0) --used;
  for (std::uint32_t i = threadIdx.x; i < kPrices; i += blockDim.x) {
    const float* const costs = tables.costs + i * kMagnitudeBins;
    float bits = 0;
#pragma unroll 4
    for (std::uint32_t bin = 0; bin < used; ++bin)
      bits += static_cast<float>(counts[bin]) * __ldg(costs + bin);
    prices[i] = bits;
  }
}

struct Cheapest {
  float bits;
  std::uint32_t scale;
};

// The cheapest of a shape's scales. By one warp.
__device__ Cheapest cheapest_scale(const float* prices, std::uint32_t first, std::uint32_t last) {
  Cheapest best{INFINITY, first};
  for (std::uint32_t scale = first + threadIdx.x % 32; scale <= last; scale += 32) {
    if (prices[scale] < best.bits) best = {prices[scale], scale};
  }
  for (int step = 16; step > 0; step /= 2) {
    const float bits = __shfl_xor_sync(0xffffffffu, best.bits, step);
    const std::uint32_t scale = __shfl_xor_sync(0xffffffffu, best.scale, step);
    if (bits < best.bits || (bits == best.bits && scale < best.scale)) best = {bits, scale};
  }
  return best;
}

// Counts magnitudes: most are 0 or 1, only the others need to meet in shared memory. By whole warps; those
// without a number have ~0.
class MagnitudeCounts {
 public:
  __device__ explicit MagnitudeCounts(std::uint32_t (&counts)[kMagnitudeBins]) : counts_(counts) {
    for (std::uint32_t i = threadIdx.x; i < kMagnitudeBins; i += blockDim.x) counts[i] = 0;
    __syncthreads();
  }
  __device__ void add(std::uint32_t magnitude) {
    zeros_ += static_cast<std::uint32_t>(__popc(__ballot_sync(0xffffffffu, magnitude == 0)));
    ones_ += static_cast<std::uint32_t>(__popc(__ballot_sync(0xffffffffu, magnitude == 1)));
    if (magnitude > 1 && magnitude != ~0u) atomicAdd(&counts_[magnitude_bin(magnitude)], 1u);
  }
  __device__ void finish() {
    if (threadIdx.x % 32 == 0) {
      atomicAdd(&counts_[0], zeros_);
      atomicAdd(&counts_[1], ones_);
    }
    __syncthreads();
  }

 private:
  std::uint32_t (&counts_)[kMagnitudeBins];
  std::uint32_t zeros_ = 0, ones_ = 0;
};

// What the decoder predicts, in sixteenths of a step.
struct ExactPrediction {
  const std::int32_t* states[kReferences];
  std::int64_t factors[kReferences];
  bool there;

  __device__ ExactPrediction(const FidelityEncodeJob& job, std::uint32_t k) : there(job.references > 0) {
#pragma unroll
    for (std::uint32_t i = 0; i < kReferences; ++i) {
      const bool has = i < job.references && k < job.before[i].components;
      states[i] = has ? job.before[i].values + std::size_t{k} * job.rows : nullptr;
      factors[i] = job.factors[kReferences * k + i];
    }
  }
  __device__ std::int64_t operator()(std::uint32_t row) const {
    if (!there) return 0;
    std::int64_t sum = std::int64_t{1} << (kPredictionShift - 1);
#pragma unroll
    for (std::uint32_t i = 0; i < kReferences; ++i) {
      if (states[i] != nullptr) sum += factors[i] * __ldg(states[i] + row);
    }
    return sum >> kPredictionShift;
  }
};

// A block for each component.
__global__ void __launch_bounds__(kThreads) quantise_components(FidelityEncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint32_t counts[kMagnitudeBins];
  __shared__ float prices[kPrices];
  __shared__ double scratch[6][kWarps];
  __shared__ float sums[6];
  const std::uint32_t k = blockIdx.x, warp = threadIdx.x / 32;
  const float* const values = job.values + std::size_t{k} * job.pitch;
  std::int32_t* const residuals = job.residuals + std::size_t{k} * job.rows;
  const ExactPrediction prediction(job, k);
  const float mean = job.spreads[k].mean, per_step = 1 / job.plan->step;
  MagnitudeCounts magnitudes(counts);
  BinTotals bins{};
  bool fine = true;
#pragma unroll 2
  for (std::uint32_t first = 0; first < job.rows; first += kThreads) {
    const std::uint32_t row = first + threadIdx.x;
    std::uint32_t magnitude = ~0u;
    if (row < job.rows) {
      const std::int64_t predicted = prediction(row);
      const float exact = (__ldg(values + row) - mean) * per_step - static_cast<float>(predicted) / 16;
      fine = fine && fabsf(exact) < kMostIndex && predicted <= kMostState && predicted >= -kMostState;
      const float index = rintf(fminf(fmaxf(exact, -kMostIndex), kMostIndex));
      add_to_bins(bins, exact, index);
      const auto whole = static_cast<std::int32_t>(index);
      residuals[row] = whole;
      magnitude = static_cast<std::uint32_t>(whole < 0 ? -whole : whole);
    }
    magnitudes.add(magnitude);
  }
  if (!fine) atomicOr(&job.outcome->refusal, kOutOfRange);
  magnitudes.finish();
  price_classes(job.tables, counts, prices);
  const float of[6] = {bins.ones, bins.more, bins.ones_excess, bins.more_excess, bins.square, bins.error};
  const double sum = block_sums<6, kWarps>(of, scratch);
  if (threadIdx.x < 6) sums[threadIdx.x] = static_cast<float>(sum);
  __syncthreads();
  const std::uint32_t shape = warp % kClassShapes, wide = warp / kClassShapes;
  static_assert(kWarps == 2 * kClassShapes);
  const Cheapest best =
      cheapest_scale(prices + shape * kClassScales, wide == 0 ? 1 : kRareScales + 1,
                     wide == 0 ? kRareScales : static_cast<std::uint32_t>(job.tables.max_scales[shape]));
  ClassBests& bests = job.bests[k];
  if (threadIdx.x % 32 == 0) {
    bests.bits[wide][shape] = best.bits;
    bests.scales[wide][shape] = static_cast<std::uint8_t>(best.scale);
  }
  if (threadIdx.x != 0) return;
  const bool silent = counts[0] == job.rows;
  bests.coded = !silent && (job.trial_coded[k] >> job.plan->coded_trial & 1) != 0 ? 1 : 0;
  job.bins[k] = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
}

// All means, their class, and their state. One block.
__global__ void __launch_bounds__(kMeanThreads) quantise_means(FidelityEncodeJob job) {
  __shared__ std::uint32_t counts[kMagnitudeBins];
  __shared__ float prices[kPrices];
  __shared__ double scratch[kMeanThreads / 32];
  __shared__ Cheapest cheapest[kClassShapes];
  const FidelityPlan& plan = *job.plan;
  const double step = ldexp(static_cast<double>(plan.step), -static_cast<int>(plan.mean_shift));
  const auto shift =
      static_cast<std::uint32_t>(22 - static_cast<int>(plan.mean_shift) + job.step->mean_shift_before);
  const std::int64_t factor = job.references > 0 ? std::int64_t{plan.mean_coefficient} * plan.ratios[0] : 0;
  MagnitudeCounts magnitudes(counts);
  double error = 0;
  bool fine = true;
  for (std::uint32_t first = 0; first < job.channels; first += kMeanThreads) {
    const std::uint32_t c = first + threadIdx.x;
    std::uint32_t magnitude = ~0u;
    if (c < job.channels) {
      std::int64_t predicted = 0;
      if (job.references > 0)
        predicted = (factor * job.means_before[c] + (std::int64_t{1} << (shift - 1))) >> shift;
      const double exact = job.means[c] / step - static_cast<double>(predicted) / 16;
      const double index = rint(fmin(fmax(exact, -double{kMostIndex}), double{kMostIndex}));
      const auto whole = static_cast<std::int32_t>(index);
      const std::int64_t next = predicted + 16 * std::int64_t{whole};
      fine = fine && fabs(exact) < kMostIndex && next <= kMostState && next >= -kMostState;
      error += (exact - index) * (exact - index);
      job.mean_residuals[c] = whole;
      job.next_means[c] = static_cast<std::int32_t>(next);
      magnitude = static_cast<std::uint32_t>(whole < 0 ? -whole : whole);
    }
    magnitudes.add(magnitude);
  }
  if (!fine) atomicOr(&job.outcome->refusal, kOutOfRange);
  magnitudes.finish();
  price_classes(job.tables, counts, prices);
  error = block_sum(error, scratch) * step * step;
  if (threadIdx.x / 32 < kClassShapes) {
    const std::uint32_t shape = threadIdx.x / 32;
    const Cheapest best = cheapest_scale(prices + shape * kClassScales, 1, job.tables.max_scales[shape]);
    if (threadIdx.x % 32 == 0) cheapest[shape] = best;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  std::uint32_t shape = 0;
  for (std::uint32_t i = 1; i < kClassShapes; ++i) {
    if (cheapest[i].bits < cheapest[shape].bits) shape = i;
  }
  const bool silent = counts[0] == job.channels;
  const std::uint32_t scale = silent ? 0 : cheapest[shape].scale;
  *job.mean_coding = {shape, scale, error};
  *job.mean_class = silent ? kNoIndexClass : job.tables.codes[shape * kClassScales + scale];
}

}  // namespace

void launch_component_residuals(const FidelityEncodeJob& job, cudaStream_t stream) {
  start_behind(quantise_components, job.components, kThreads, 0, stream, job);
}

void launch_mean_residuals(const FidelityEncodeJob& job, cudaStream_t stream) {
  quantise_means<<<1, kMeanThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
