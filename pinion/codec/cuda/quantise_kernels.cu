// From residuals to indices (the encoder's side of docs/format.md §12): a step planned by the components'
// deviations, corrected once by the error that it really makes, and indices at it. A block for each
// component; the last one to end does what needs all of them.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/row_bands.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 512, kWarps = kThreads / 32;
constexpr std::uint32_t kTogether = 3;     // values of a thread that are on their way at once
constexpr float kMostIndex = 67108860.0f;  // below 2^26
constexpr double kCloseEnough = 0.02;      // of the error to the target: no correction is worth it
// Where even exact components would miss the target, they get this share of what is left.
constexpr double kLeastShareOfFloor = 0.1;
constexpr int kSilentOctaves = 4;      // above the widest deviation nothing is said
constexpr float kPricePerSquare = 60;  // bits that a squared step of silence is worth
// Of what tokens cost, what coefficients may be expected to, as for the CPU's encoder.
constexpr double kTransformPays = 0.93;

constexpr std::uint32_t kNearParts = 4096;  // components times bands that fit in shared memory
constexpr int kLaplaceEntries = kMostLaplace - kLeastLaplace + 1;

// What a step is planned by: deviations and costs [bands, K], near where they fit. Where they do not, they
// are read past the cache: other blocks of the same kernel wrote them.
struct Spread {
  bool is_near;
  const int *near_deviations, *deviations;
  const float *near_costs, *costs;
  const float* laplace;
  std::uint32_t bands, components;
  int growth;

  __device__ int deviation(std::uint32_t i) const {
    return is_near ? near_deviations[i] : __ldcg(deviations + i);
  }
  __device__ float cost(std::uint32_t i) const { return is_near ? near_costs[i] : __ldcg(costs + i); }
};

struct NearSpread {
  int deviations[kNearParts];
  float costs[kNearParts], laplace[kLaplaceEntries];
};

// Of so many bands from one on.
__device__ Spread load_spread(const CalibratedEncodeJob& job, std::uint32_t first, std::uint32_t bands,
                              NearSpread& near) {
  const std::uint32_t components = job.predict.calibration.components, parts = bands * components;
  const Spread spread{parts <= kNearParts,
                      near.deviations,
                      job.deviations + first * components,
                      near.costs,
                      job.costs + first * components,
                      near.laplace,
                      bands,
                      components,
                      job.band_growth};
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < parts && spread.is_near; i += kThreads) {
    near.deviations[i] = __ldcg(spread.deviations + i);
    near.costs[i] = __ldcg(spread.costs + i);
  }
  for (int i = static_cast<int>(threadIdx.x); i < kLaplaceEntries; i += static_cast<int>(kThreads))
    near.laplace[i] = __ldg(job.tables.laplace + i);
  __syncthreads();
  return spread;
}

// Error energy that is expected at a step, by one warp.
__device__ float expected_error(const Spread& spread, int step, std::uint32_t lane) {
  float sum = 0;
  for (std::uint32_t band = 0; band < spread.bands; ++band) {
    const int in_band = step + static_cast<int>(band) * spread.growth;
    const float squared_step = exp2f(static_cast<float>(in_band) / 32);
#pragma unroll 4
    for (std::uint32_t k = lane; k < spread.components; k += 32) {
      const int deviation = spread.deviation(band * spread.components + k);
      const int x = deviation - in_band;
      // Far below a step nothing is said and the error is the deviation, if there is any; far above, that of
      // the step.
      const float error = x < kLeastLaplace
                              ? exp2f(static_cast<float>(deviation) / 32)
                              : squared_step * spread.laplace[min(x, kMostLaplace) - kLeastLaplace];
      sum += spread.cost(band * spread.components + k) * error;
    }
  }
  return warp_sum(sum);
}

// The coarsest step whose expected error is no more than `goal`, and what that is. By all threads.
__device__ int step_for(const Spread& spread, double goal, float& expected) {
  __shared__ float errors[kWarps];
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int low = kLeastStep;
  for (int stride = 256; stride > 0; stride /= 16) {
    const float error = expected_error(spread, low + static_cast<int>(warp) * stride, lane);
    __syncthreads();
    if (lane == 0) errors[warp] = error;
    __syncthreads();
    int best = 0;
    for (int i = 1; i < static_cast<int>(kWarps) && errors[i] <= goal; ++i) best = i;
    low += best * stride;
    expected = errors[best];
  }
  return low;
}

__device__ int coarsest_step(const Spread& spread) {
  __shared__ int widest[kWarps];
  int most = kNoDeviation;
  for (std::uint32_t i = threadIdx.x; i < spread.bands * spread.components; i += kThreads)
    most = max(most, spread.deviation(i) - static_cast<int>(i / spread.components) * spread.growth);
  for (int step = 16; step > 0; step /= 2) most = max(most, __shfl_xor_sync(0xffffffffu, most, step));
  __syncthreads();
  if (threadIdx.x % 32 == 0) widest[threadIdx.x / 32] = most;
  __syncthreads();
  for (std::uint32_t w = 0; w < kWarps; ++w) most = max(most, widest[w]);
  if (most <= kNoDeviation / 2) return 0;
  return max(kLeastStep, min(most + kSilentOctaves * 64, kMostStep));
}

// Bits that are expected of a spread at a step, by all threads.
__device__ double expected_bits(const CalibratedEncodeJob& job, const Spread& spread, const RowOrder* order,
                                int step, double* scratch) {
  double sum = 0;
  for (std::uint32_t i = threadIdx.x; i < spread.bands * spread.components; i += kThreads) {
    const int deviation = spread.deviation(i), x = deviation - step;
    if (deviation == kNoDeviation || x < kLeastLaplace) continue;
    const std::uint32_t band = i / spread.components;
    const std::uint32_t rows =
        order == nullptr ? job.predict.rows : order->ends[band] - (band == 0 ? 0 : order->ends[band - 1]);
    const float bits = __ldg(job.tables.laplace_bits + (min(x, kMostLaplace) - kLeastLaplace)) +
                       static_cast<float>(max(x - kMostLaplace, 0)) / 64;
    sum += static_cast<double>(rows) * bits;
  }
  return block_sum(sum, scratch);
}

struct Planned {
  float expected = 0;
  int step = 0;
};
__device__ Planned planned_for(const Spread& spread, double goal) {
  Planned planned;
  planned.step = min(step_for(spread, goal, planned.expected), coarsest_step(spread));
  return planned;
}

// Whether coefficients are coded or tokens, and at which step.
__device__ Planned plan_layout(const CalibratedEncodeJob& job, double goal, NearSpread& near,
                               double* scratch) {
  const std::uint32_t components = job.predict.calibration.components;
  const Spread tokens = load_spread(job, kIndexBands, 1, near);
  const Planned of_tokens = planned_for(tokens, goal);
  const double bits = expected_bits(job, tokens, nullptr, of_tokens.step, scratch);
  const Spread coefficients = load_spread(job, 0, kIndexBands, near);
  const Planned of_coefficients = planned_for(coefficients, goal);
  if (expected_bits(job, coefficients, job.coefficient_order, of_coefficients.step, scratch) <
      kTransformPays * bits) {
    if (threadIdx.x == 0) *job.order = *job.coefficient_order;
    return of_coefficients;
  }
  for (std::uint32_t k = threadIdx.x; k < components; k += kThreads) {
    job.deviations[k] = __ldcg(job.deviations + kIndexBands * components + k);
    job.costs[k] = __ldcg(job.costs + kIndexBands * components + k);
  }
  if (threadIdx.x == 0) {
    RowOrder order;
    order.ends[0] = job.predict.rows;
    order.weights[0] = job.predict.rows;
    *job.order = order;
  }
  return of_tokens;
}

__device__ void plan_step(const CalibratedEncodeJob& job, NearSpread& near, double* scratch) {
  const CalibratedStep& step = *job.predict.step;
  const double outside = (job.tiles.is_there() ? job.predict.rows : weight_sum(job)) * step.floor;
  const double goal =
      fmax(step.allowed_error - outside, kLeastShareOfFloor * fmin(step.allowed_error, outside));
  const Planned planned = job.tiles.is_there() ? plan_layout(job, goal, near, scratch)
                                               : planned_for(load_spread(job, 0, bands_of(job), near), goal);
  if (threadIdx.x == 0) *job.plan = {goal, planned.expected, planned.step, planned.step};
}

// Deviation and cost of some rows of a component. By all threads; whether all values are finite.
__device__ bool measure_rows(const CalibratedEncodeJob& job, std::uint32_t k, const float* values,
                             std::uint32_t band, const BandRows& rows, double* scratch) {
  bool fine = true;
  double square = 0;
  for (std::uint32_t first = rows.begin + threadIdx.x; first < rows.end; first += kTogether * kThreads) {
    float some[kTogether];
    load_places(values, rows, first, kThreads, some);
#pragma unroll
    for (std::uint32_t i = 0; i < kTogether; ++i) {
      fine = fine && is_finite(some[i]);
      square += static_cast<double>(some[i]) * some[i];
    }
  }
  square = block_sum(square, scratch);
  if (threadIdx.x != 0) return fine;
  const CalibrationArrays& calibration = job.predict.calibration;
  const float gain = blended_at(calibration.gains, calibration.components, job.predict.step->records, k);
  const std::size_t at = std::size_t{band} * calibration.components + k;
  const double mean = square / max(1u, rows.end - rows.begin);
  job.deviations[at] = mean > 0 ? __double2int_rn(32 * log2(mean)) : kNoDeviation;
  job.costs[at] = static_cast<float>(rows.weight * gain);
  return fine;
}

// Deviations and costs of a component in each band; the last block plans the step by them.
__global__ void __launch_bounds__(kThreads) measure(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  __shared__ double scratch[kWarps];
  __shared__ NearSpread near;
  const std::uint32_t k = blockIdx.x;
  const float* const residual = job.residual + std::size_t{k} * job.predict.pitch;
  bool fine = true;
  if (job.tiles.is_there()) {
    fine = measure_rows(job, k, residual, kIndexBands, all_rows(job), scratch);
    const float* const coefficients = job.coefficients + std::size_t{k} * job.predict.pitch;
    for_each_band_of(job, *job.coefficient_order, [&](std::uint32_t band, const BandRows& rows) {
      measure_rows(job, k, coefficients, band, rows, scratch);
    });
  } else {
    for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
      fine = measure_rows(job, k, residual, band, rows, scratch) && fine;
    });
  }
  if (!fine) job.outcome->not_finite = 1;
  if (is_last_block(job.done->measured)) plan_step(job, near, scratch);
}

__device__ float step_size(const CalibratedEncodeJob& job, int step, std::uint32_t band) {
  return job.tables.steps[step + static_cast<int>(band) * job.band_growth - kLeastStep];
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

// If the planned step makes another error than was expected, one that does not.
__device__ void correct_step(const CalibratedEncodeJob& job, NearSpread& near, double* scratch) {
  double reached = 0;
  for (std::uint32_t k = threadIdx.x; k < job.predict.calibration.components; k += kThreads)
    reached += __ldcg(job.trial_errors + k);
  reached = block_sum(reached, scratch);
  const StepPlan plan = *job.plan;
  if (fabs(reached - plan.goal) <= kCloseEnough * plan.goal) return;
  const Spread spread = load_spread(job, 0, bands_of(job), near);
  int corrected = coarsest_step(spread);
  float expected = 0;
  if (reached > 0)
    corrected = min(corrected, step_for(spread, plan.goal * plan.expected / reached, expected));
  if (threadIdx.x == 0) job.plan->step = corrected;
}

// Error energy at the planned step; the last block corrects the step by it.
__global__ void __launch_bounds__(kThreads) try_step(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  __shared__ double scratch[kWarps];
  __shared__ NearSpread near;
  const PredictJob& predict = job.predict;
  const std::uint32_t k = blockIdx.x;
  const float* const residual = values_of(job, k);
  double energy = 0;
  for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
    const float step = step_size(job, job.plan->planned, band), per_step = 1 / step;
    double sum = 0;
    for (std::uint32_t first = rows.begin + threadIdx.x; first < rows.end; first += kTogether * kThreads) {
      float some[kTogether];
      load_places(residual, rows, first, kThreads, some);
      // Past the end there are zeros, which make no error.
#pragma unroll
      for (std::uint32_t i = 0; i < kTogether; ++i)
        sum += rows.weight_of(min(first + i * kThreads, rows.end - 1)) *
               Rounded(some[i], per_step).squared_error();
    }
    energy += sum * step * step;
  });
  energy = block_sum(energy, scratch);
  const float gain =
      blended_at(predict.calibration.gains, predict.calibration.components, predict.step->records, k);
  if (threadIdx.x == 0) job.trial_errors[k] = energy * gain;
  if (is_last_block(job.done->tried)) correct_step(job, near, scratch);
}

// Bits of the indices that `counts` has by magnitude, for each shape and each scale in reach.
__device__ void price_classes(const CalibratedEncodeJob& job, std::uint32_t k, std::uint32_t band,
                              const std::uint32_t* counts) {
  const int expected = calibrated_scale(calibrated_level(job, k), job.plan->step);
  if (threadIdx.x == 0) job.expected_scales[k] = expected;
  const int first = expected + first_band_scale(job, band) - kScaleReach;
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
  wait_for_earlier_work();
  __shared__ double scratch[kWarps];
  __shared__ std::uint32_t counts[kMagnitudeBins];
  const PredictJob& predict = job.predict;
  const std::uint32_t k = blockIdx.x, lane = threadIdx.x % 32, components = predict.calibration.components;
  const float* const residual = values_of(job, k);
  std::int32_t* const indices = job.indices + std::size_t{k} * predict.pitch;
  const double gain = blended_at(predict.calibration.gains, components, predict.step->records, k);
  for_each_band(job, [&](std::uint32_t band, const BandRows& rows) {
    const float step = step_size(job, job.plan->step, band), per_step = 1 / step;
    __syncthreads();
    for (std::uint32_t i = threadIdx.x; i < kMagnitudeBins; i += kThreads) counts[i] = 0;
    __syncthreads();
    double error = 0, silence = 0, added = 0;
    std::uint32_t zeros = 0, ones = 0;
    for (std::uint32_t begin = rows.begin; begin < rows.end; begin += kTogether * kThreads) {
      float some[kTogether];
      load_places(residual, rows, begin + threadIdx.x, kThreads, some);
#pragma unroll
      for (std::uint32_t i = 0; i < kTogether; ++i) {
        const std::uint32_t place = begin + i * kThreads + threadIdx.x;
        std::uint32_t magnitude = ~0u;
        if (place < rows.end) {
          const Rounded rounded(some[i], per_step);
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
  start_behind(measure, components, kThreads, 0, stream, job);
  start_behind(try_step, components, kThreads, 0, stream, job);
  start_behind(quantise, components, kThreads, 0, stream, job);
}

}  // namespace pinion::codec::cuda
