#pragma once
// Residuals of components as an encoder of mode 2 looks at them before and after it has chosen a step. They
// mirror pinion/codec/fidelity/step_model.h.

#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/fidelity_encode_jobs.h"

namespace pinion::codec::cuda {

// What a component is predicted from, in units of the tensor.
struct ReferenceValues {
  const std::int32_t* values[kReferences];
  float units[kReferences];

  __device__ ReferenceValues(const FidelityEncodeJob& job, std::uint32_t k) {
#pragma unroll
    for (std::uint32_t i = 0; i < kReferences; ++i) {
      const bool there = i < job.references && k < job.before[i].components;
      values[i] = there ? job.before[i].values + std::size_t{k} * job.rows : nullptr;
      units[i] = there ? static_cast<float>(job.step->steps_before[i] / 16) : 0;
    }
  }
  __device__ float at(std::uint32_t i, std::uint32_t row) const {
    return values[i] == nullptr ? 0.0f : static_cast<float>(__ldg(values[i] + row)) * units[i];
  }
};

inline constexpr float kGain = 17.079f;  // 2 pi e: see rate_model.cc
inline constexpr int kOlderZero = 128;   // that is added to a coefficient of the older reference

// The residual of a component's row, before it is rounded.
struct Residual {
  const float* values;
  float mean, first, second;
  ReferenceValues before;

  __device__ Residual(const FidelityEncodeJob& job, std::uint32_t k)
      : values(job.values + std::size_t{k} * job.pitch), mean(job.spreads[k].mean), before(job, k) {
    const std::uint32_t set = job.references > 0 ? job.predictor_of[k] : 0;
    first = job.references > 0 ? job.plan->coefficients[set][0] : 0;
    second = job.references > 0 ? job.plan->coefficients[set][1] : 0;
  }
  __device__ float operator()(std::uint32_t row) const {
    return __ldg(values + row) - mean - first * before.at(0, row) - second * before.at(1, row);
  }
};

// Mean squared error per squared step of a component of that variance, in squared steps.
__device__ inline float model_error(float variance) {
  constexpr float kLeftOut = 0.16f;
  return variance < kLeftOut ? variance : variance / (1 + 12 * variance);
}

__device__ inline void add_to_bins(BinTotals& bins, float value, float index) {
  const float size = fabsf(index), excess = fabsf(value) - size;
  const bool one = size == 1, more = size > 1;
  bins.ones += one ? 1.0f : 0.0f;
  bins.more += more ? 1.0f : 0.0f;
  bins.ones_excess += one ? excess : 0.0f;
  bins.more_excess += more ? excess : 0.0f;
  bins.square += value * value;
  bins.error += excess * excess;
}

// Sum of squared errors of values that are rebuilt at their bins' centroids.
__device__ inline float error_at_centroids(const BinTotals& bins) {
  const auto saved = [](float sum, float count) { return count >= 4 ? sum * sum / count : 0.0f; };
  return bins.error - saved(bins.ones_excess, bins.ones) - saved(bins.more_excess, bins.more);
}

// False if the residuals cost more bits than the error that they remove is worth.
__device__ inline bool worth_coding(const BinTotals& bins, float count, float weight) {
  constexpr float kErrorPerBit = 2 * 0.69314718f / 12, kSureShare = 1.0f / 32;
  const float ones = bins.ones, more = bins.more;
  if (ones + more == 0) return false;
  if (more > kSureShare * count) return true;
  const auto cost = [count](float n) { return n > 0 ? n * log2f(count / n) : 0.0f; };
  const float bits = cost(count - ones - more) + cost(ones) + cost(more) + ones + 3 * more;
  return weight * (bins.square - error_at_centroids(bins)) > kErrorPerBit * bits;
}

// Sums over the block, of kCount numbers at once, to its first threads: thread i < kCount gets the i-th.
template <std::uint32_t kCount, std::uint32_t kWarps, class Number>
__device__ double block_sums(const Number (&values)[kCount], double (&scratch)[kCount][kWarps]) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const double sum = warp_sum(static_cast<double>(values[i]));
    if (lane == 0) scratch[i][warp] = sum;
  }
  __syncthreads();
  double sum = 0;
  if (threadIdx.x < kCount) {
    for (std::uint32_t w = 0; w < kWarps; ++w) sum += scratch[threadIdx.x][w];
  }
  return sum;
}

}  // namespace pinion::codec::cuda
