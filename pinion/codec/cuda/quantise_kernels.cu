// From residuals to indices (the encoder's side of docs/format.md §12): a step planned by the components'
// deviations, corrected once by the error that it really makes, and indices at it. A block for each
// component.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/row_bands.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kPlanThreads = 512, kPlanWarps = kPlanThreads / 32;
constexpr float kMostIndex = 67108860.0f;  // below 2^26
constexpr double kCloseEnough = 0.02;      // of the error to the target: no correction is worth it
// Where even exact components would miss the target, they get this share of what is left.
constexpr double kLeastShareOfFloor = 0.1;
constexpr int kSilentOctaves = 4;      // above the widest deviation nothing is said
constexpr float kPricePerSquare = 60;  // bits that a squared step of silence is worth

// Deviations and costs of a component in each band.
__global__ void __launch_bounds__(kThreads) measure(CalibratedEncodeJob job) {
  __shared__ double scratch[kThreads / 32];
  const PredictJob& predict = job.predict;
  const std::uint32_t k = blockIdx.x, components = predict.calibration.components;
  const float* const residual = job.residual + std::size_t{k} * predict.pitch;
  bool fine = true;
  for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
    double square = 0;
#pragma unroll 4
    for (std::uint32_t place = rows.begin + threadIdx.x; place < rows.end; place += kThreads) {
      const float value = residual[rows.row_at(place)];
      fine = fine && is_finite(value);
      square += static_cast<double>(value) * value;
    }
    square = block_sum(square, scratch);
    if (threadIdx.x != 0) return;
    const float gain = blended_at(predict.calibration.gains, components, predict.step->records, k);
    const std::size_t at = std::size_t{band} * components + k;
    const double mean = square / max(1u, rows.end - rows.begin);
    job.deviations[at] = mean > 0 ? __double2int_rn(32 * log2(mean)) : kNoDeviation;
    job.costs[at] = static_cast<float>(rows.weight * gain);
  });
  if (!fine) job.outcome->not_finite = 1;
}

// Error energy that is expected at a step, by one warp.
__device__ float expected_error(const CalibratedEncodeJob& job, std::uint32_t bands, int step,
                                std::uint32_t lane) {
  const std::uint32_t components = job.predict.calibration.components;
  float sum = 0;
  for (std::uint32_t band = 0; band < bands; ++band) {
    const int in_band = step + static_cast<int>(band) * kBandGrowth;
    const float squared_step = exp2f(static_cast<float>(in_band) / 32);
#pragma unroll 4
    for (std::uint32_t k = lane; k < components; k += 32) {
      const int deviation = job.deviations[band * components + k];
      if (deviation == kNoDeviation) continue;
      const int x = deviation - in_band;
      // Far below a step nothing is said and the error is the deviation; far above, that of the step.
      const float error =
          x < kLeastLaplace ? exp2f(static_cast<float>(deviation) / 32)
                            : squared_step * __ldg(job.tables.laplace + min(x, kMostLaplace) - kLeastLaplace);
      sum += job.costs[band * components + k] * error;
    }
  }
  return warp_sum(sum);
}

// The coarsest step whose expected error is no more than `goal`, and what that is. By all threads.
__device__ int step_for(const CalibratedEncodeJob& job, std::uint32_t bands, double goal, float& expected) {
  __shared__ float errors[kPlanWarps];
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int low = kLeastStep;
  for (int stride = 256; stride > 0; stride /= 16) {
    const float error = expected_error(job, bands, low + static_cast<int>(warp) * stride, lane);
    __syncthreads();
    if (lane == 0) errors[warp] = error;
    __syncthreads();
    int best = 0;
    for (int i = 1; i < static_cast<int>(kPlanWarps) && errors[i] <= goal; ++i) best = i;
    low += best * stride;
    expected = errors[best];
  }
  return low;
}

__device__ int coarsest_step(const CalibratedEncodeJob& job, std::uint32_t bands) {
  __shared__ int widest[kPlanWarps];
  const std::uint32_t components = job.predict.calibration.components;
  int most = kNoDeviation;
  for (std::uint32_t i = threadIdx.x; i < bands * components; i += kPlanThreads)
    most = max(most, job.deviations[i] - static_cast<int>(i / components) * kBandGrowth);
  for (int step = 16; step > 0; step /= 2) most = max(most, __shfl_xor_sync(0xffffffffu, most, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) widest[threadIdx.x / 32] = most;
  __syncthreads();
  for (std::uint32_t w = 0; w < kPlanWarps; ++w) most = max(most, widest[w]);
  if (most <= kNoDeviation / 2) return 0;
  return max(kLeastStep, min(most + kSilentOctaves * 64, kMostStep));
}

__global__ void __launch_bounds__(kPlanThreads) plan_step(CalibratedEncodeJob job) {
  const CalibratedStep& step = *job.predict.step;
  const std::uint32_t bands = bands_of(job);
  const double outside = weight_sum(job) * step.floor;
  const double goal =
      fmax(step.allowed_error - outside, kLeastShareOfFloor * fmin(step.allowed_error, outside));
  float expected = 0;
  const int planned = min(step_for(job, bands, goal, expected), coarsest_step(job, bands));
  if (threadIdx.x == 0) *job.plan = {goal, expected, planned, planned};
}

__global__ void __launch_bounds__(kPlanThreads) correct_step(CalibratedEncodeJob job) {
  __shared__ double scratch[kPlanWarps];
  double reached = 0;
  for (std::uint32_t k = threadIdx.x; k < job.predict.calibration.components; k += kPlanThreads)
    reached += job.trial_errors[k];
  reached = block_sum(reached, scratch);
  const StepPlan plan = *job.plan;
  if (fabs(reached - plan.goal) <= kCloseEnough * plan.goal) return;
  const std::uint32_t bands = bands_of(job);
  int corrected = coarsest_step(job, bands);
  float expected = 0;
  if (reached > 0)
    corrected = min(corrected, step_for(job, bands, plan.goal * plan.expected / reached, expected));
  if (threadIdx.x == 0) job.plan->step = corrected;
}

__device__ float step_size(const CalibratedEncodeJob& job, int step, std::uint32_t band) {
  return job.tables.steps[step + static_cast<int>(band) * kBandGrowth - kLeastStep];
}

// A value in steps and its index.
struct Rounded {
  float value, index;
  __device__ Rounded(float residual, float per_step) : value(residual * per_step) {
    index = roundf(fminf(fmaxf(value, -kMostIndex), kMostIndex));
  }
  __device__ double squared_error() const {
    const double left = static_cast<double>(value) - index;
    return left * left;
  }
};

// Error energy at the planned step.
__global__ void __launch_bounds__(kThreads) try_step(CalibratedEncodeJob job) {
  __shared__ double scratch[kThreads / 32];
  const PredictJob& predict = job.predict;
  const std::uint32_t k = blockIdx.x;
  const float* const residual = job.residual + std::size_t{k} * predict.pitch;
  double energy = 0;
  for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
    const float step = step_size(job, job.plan->planned, band), per_step = 1 / step;
    double sum = 0;
#pragma unroll 4
    for (std::uint32_t place = rows.begin + threadIdx.x; place < rows.end; place += kThreads)
      sum += rows.weight_of(place) * Rounded(residual[rows.row_at(place)], per_step).squared_error();
    energy += sum * step * step;
  });
  energy = block_sum(energy, scratch);
  const float gain =
      blended_at(predict.calibration.gains, predict.calibration.components, predict.step->records, k);
  if (threadIdx.x == 0) job.trial_errors[k] = energy * gain;
}

// Scales of a class around which classes are priced.
__device__ int expected_scale(const CalibratedEncodeJob& job, std::uint32_t k, std::uint32_t band) {
  return calibrated_scale(calibrated_level(job, k), job.plan->step) + first_band_scale(band);
}

// Bits of the indices that `counts` has by magnitude, for each shape and each scale in reach.
__device__ void price_classes(const CalibratedEncodeJob& job, std::uint32_t k, std::uint32_t band,
                              const std::uint32_t* counts) {
  const int first = expected_scale(job, k, band) - kScaleReach;
  const std::uint32_t components = job.predict.calibration.components;
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(kClassShapes) * kPricedScales;
       i += kThreads) {
    const int shape = i / kPricedScales, scale = first + i % kPricedScales;
    const float* const costs =
        job.tables.class_costs +
        (shape * static_cast<int>(kClassScales) + max(1, min(scale, static_cast<int>(kClassScales) - 1))) *
            static_cast<int>(kMagnitudeBins);
    float bits = 0;
    for (std::uint32_t bin = 0; bin < kMagnitudeBins; ++bin) {
      if (counts[bin] != 0) bits += static_cast<float>(counts[bin]) * __ldg(costs + bin);
    }
    job.prices[(band * (kClassShapes * kPricedScales) + static_cast<std::uint32_t>(i)) * components + k] =
        bits;
  }
}

__global__ void __launch_bounds__(kThreads) quantise(CalibratedEncodeJob job) {
  __shared__ double scratch[kThreads / 32];
  __shared__ std::uint32_t counts[kMagnitudeBins];
  const PredictJob& predict = job.predict;
  const std::uint32_t k = blockIdx.x, lane = threadIdx.x % 32, components = predict.calibration.components;
  const float* const residual = job.residual + std::size_t{k} * predict.pitch;
  std::int32_t* const indices = job.indices + std::size_t{k} * predict.pitch;
  const double gain = blended_at(predict.calibration.gains, components, predict.step->records, k);
  for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
    const float step = step_size(job, job.plan->step, band), per_step = 1 / step;
    __syncthreads();
    for (std::uint32_t i = threadIdx.x; i < kMagnitudeBins; i += kThreads) counts[i] = 0;
    __syncthreads();
    double error = 0, silence = 0, added = 0;
    std::uint32_t zeros = 0, ones = 0;
#pragma unroll 2
    for (std::uint32_t first = rows.begin; first < rows.end; first += kThreads) {
      const std::uint32_t place = first + threadIdx.x;
      std::uint32_t magnitude = ~0u;
      if (place < rows.end) {
        const Rounded rounded(residual[rows.row_at(place)], per_step);
        const auto index = static_cast<std::int32_t>(rounded.index);
        indices[place] = index;
        magnitude = static_cast<std::uint32_t>(index < 0 ? -index : index);
        const double squared = rounded.squared_error(), weight = rows.weight_of(place);
        const double more = static_cast<double>(rounded.value) * rounded.value - squared;
        error += weight * squared;
        silence += weight * more;
        added += more;
      }
      // Most are 0 or 1: only the others need to meet in shared memory.
      zeros += static_cast<std::uint32_t>(__popc(__ballot_sync(0xffffffffu, magnitude == 0)));
      ones += static_cast<std::uint32_t>(__popc(__ballot_sync(0xffffffffu, magnitude == 1)));
      if (magnitude > 1 && place < rows.end) atomicAdd(&counts[magnitude_bin(magnitude)], 1u);
    }
    if (lane == 0) {
      atomicAdd(&counts[0], zeros);
      atomicAdd(&counts[1], ones);
    }
    error = block_sum(error, scratch);
    silence = block_sum(silence, scratch);
    added = block_sum(added, scratch);
    const std::size_t at = std::size_t{band} * components + k;
    if (threadIdx.x == 0) {
      const double unit = gain * step * step;
      job.errors[at] = error * unit;
      job.silences[at] = silence * unit;
      job.silent_squares[at] = kPricePerSquare * static_cast<float>(added);
    }
    price_classes(job, k, band, counts);
  });
}

}  // namespace

void launch_quantisation(const CalibratedEncodeJob& job, cudaStream_t stream) {
  const std::uint32_t components = job.predict.calibration.components;
  measure<<<components, kThreads, 0, stream>>>(job);
  plan_step<<<1, kPlanThreads, 0, stream>>>(job);
  try_step<<<components, kThreads, 0, stream>>>(job);
  correct_step<<<1, kPlanThreads, 0, stream>>>(job);
  quantise<<<components, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
