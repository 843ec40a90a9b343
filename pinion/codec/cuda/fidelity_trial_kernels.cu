// The step of a frame of mode 2: the error that steps near the planned one really make. And whether rows
// differ in size.

#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/fidelity_residual.cuh"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kWarps = kThreads / 32;
constexpr std::uint32_t kChoiceThreads = 512, kChoiceWarps = kChoiceThreads / 32;
constexpr double kMostMeanShift = 8;
constexpr std::uint32_t kMostRatio = 1u << 20;
constexpr std::uint32_t kSizedComponents = 64;  // by which rows are compared
constexpr float kHeardVariance = 0.05f;         // squared steps: components below hold no news of the rows
constexpr float kLeastHeard = 8;                // components by which rows can be compared
constexpr float kOtherBits = 0.1f;  // of an index: where there are few bits, none are worth saving

// The error of a component at each of the trial steps. A block for each.
__global__ void __launch_bounds__(kThreads) try_steps(FidelityEncodeJob job) {
  wait_for_earlier_work();
  constexpr std::uint32_t kSums = 5 * kTrials + 1;
  __shared__ double scratch[kSums][kWarps];
  __shared__ float sums[kSums];
  const std::uint32_t k = blockIdx.x;
  const Residual residual(job, k);
  float per_step[kTrials];
  BinTotals bins[kTrials] = {};
  float square = 0;
#pragma unroll
  for (std::uint32_t i = 0; i < kTrials; ++i) per_step[i] = 1 / job.plan->trials[i];
#pragma unroll 2
  for (std::uint32_t row = threadIdx.x; row < job.rows; row += kThreads) {
    const float value = residual(row);
    square += value * value;
#pragma unroll
    for (std::uint32_t i = 0; i < kTrials; ++i)
      add_to_bins(bins[i], value * per_step[i], rintf(value * per_step[i]));
  }
  float of[kSums];
#pragma unroll
  for (std::uint32_t i = 0; i < kTrials; ++i) {
    of[5 * i] = bins[i].ones, of[5 * i + 1] = bins[i].more;
    of[5 * i + 2] = bins[i].ones_excess, of[5 * i + 3] = bins[i].more_excess;
    of[5 * i + 4] = bins[i].error;
  }
  of[kSums - 1] = square;
  const double sum = block_sums<kSums, kWarps>(of, scratch);
  if (threadIdx.x < kSums) sums[threadIdx.x] = static_cast<float>(sum);
  __syncthreads();
  if (threadIdx.x >= kTrials) return;
  const float* const own = sums + 5 * threadIdx.x;
  const float step = job.plan->trials[threadIdx.x], squared_step = step * step;
  const BinTotals total{own[0], own[1], own[2], own[3], sums[kSums - 1] / squared_step, own[4]};
  const float weight = job.analysis.weights == nullptr ? 1 : job.analysis.weights[k];
  const bool coded = worth_coding(total, static_cast<float>(job.rows), weight);
  const float unit = weight * squared_step / static_cast<float>(job.rows);
  job.trial_errors[threadIdx.x * job.components + k] = error_at_centroids(total) * unit;
  if (threadIdx.x == 0) job.trial_errors[kTrials * job.components + k] = total.square * unit;
  const std::uint32_t bits = __ballot_sync((1u << kTrials) - 1, coded);
  if (threadIdx.x == 0) job.trial_coded[k] = static_cast<std::uint8_t>(bits);
}

// Errors at the trials, of what judge(trial) says is coded. By all threads; all get them.
template <class Judge>
__device__ void sum_errors(const FidelityEncodeJob& job, const Judge& judge,
                           double (&scratch)[kTrials][kChoiceWarps], double (&errors)[kTrials]) {
  double of[kTrials] = {};
  for (std::uint32_t k = threadIdx.x; k < job.components; k += kChoiceThreads) {
    const std::uint32_t coded = job.trial_coded[k];
#pragma unroll
    for (std::uint32_t i = 0; i < kTrials; ++i)
      of[i] += job.trial_errors[((coded >> judge(i) & 1) != 0 ? i : kTrials) * job.components + k];
  }
  __syncthreads();
  const double sum = block_sums<kTrials, kChoiceWarps>(of, scratch);
  if (threadIdx.x < kTrials) errors[threadIdx.x] = sum;
  __syncthreads();
}

__device__ double log_step_at(const FidelityPlan& plan, const double (&errors)[kTrials]) {
  constexpr double kFar = 3;  // octaves beyond the trials
  double steps[kTrials], logs[kTrials];
  for (std::uint32_t i = 0; i < kTrials; ++i) {
    steps[i] = log2(static_cast<double>(plan.trials[i]));
    logs[i] = log2(fmax(errors[i], plan.aim * 1e-9));
  }
  const double goal = log2(plan.aim);
  std::uint32_t at = 0;
  while (at + 2 < kTrials && goal > logs[at + 1]) ++at;
  const double slope = fmin(fmax((logs[at + 1] - logs[at]) / (steps[at + 1] - steps[at]), 0.3), 3.0);
  const bool is_left = goal <= logs[at];
  const double from =
      is_left ? steps[at] + (goal - logs[at]) / slope : steps[at + 1] + (goal - logs[at + 1]) / slope;
  return fmin(fmax(from, steps[0] - kFar), steps[kTrials - 1] + kFar);
}

__global__ void __launch_bounds__(kChoiceThreads) choose_step(FidelityEncodeJob job) {
  wait_for_earlier_work();
  __shared__ double scratch[kTrials][kChoiceWarps], errors[kTrials];
  __shared__ std::uint32_t ratios[kReferences];
  FidelityPlan& plan = *job.plan;
  // What is coded stays as it is at the trial nearest to the target: so the error follows the step smoothly.
  std::uint32_t judged = 1;
  sum_errors(
      job, [](std::uint32_t i) { return i; }, scratch, errors);
  double nearest = INFINITY;
  for (std::uint32_t i = 0; i < kTrials && !job.step->is_forced; ++i) {
    const double distance = fabs(log(errors[i] / plan.aim));
    if (distance < nearest) nearest = distance, judged = i;
  }
  sum_errors(
      job, [judged](std::uint32_t) { return judged; }, scratch, errors);
  if (threadIdx.x == 0) {
    float step =
        job.step->is_forced ? job.step->first_step : static_cast<float>(exp2(log_step_at(plan, errors)));
    plan.coded_trial = judged;
    constexpr float kLeastNormal = 1.17549435e-38f;
    bool fine = step > 4 * kLeastNormal && 1 / step > 4 * kLeastNormal;
    if (!fine) step = 1;
    for (std::uint32_t i = 0; i < kReferences; ++i) {
      ratios[i] = 1;
      if (i >= job.references) continue;
      const double ratio = rint(job.step->steps_before[i] / step * 65536);
      fine = fine && ratio >= 1 && ratio <= kMostRatio;
      ratios[i] = static_cast<std::uint32_t>(fmin(fmax(ratio, 1.0), double{kMostRatio}));
      plan.ratios[i] = ratios[i];
    }
    if (!fine) job.outcome->refusal |= kOutOfRange;
    plan.step = step;
    double mean_step = step, shift = 0;
    for (; shift < kMostMeanShift && job.channels * mean_step * mean_step / 12 > plan.mean_allowed; ++shift)
      mean_step /= 2;
    plan.mean_shift = static_cast<std::uint32_t>(shift);
  }
  __syncthreads();
  for (std::uint32_t i = threadIdx.x; i < kReferences * job.components; i += kChoiceThreads) {
    const std::uint32_t k = i / kReferences, reference = i % kReferences;
    std::int32_t coefficient = 0;
    if (reference < job.references)
      coefficient = plan.written[job.predictor_of[k]][reference] - (reference == 0 ? 0 : kOlderZero);
    job.factors[i] = coefficient * static_cast<std::int32_t>(ratios[reference]);
  }
}

// What an index of some components takes on average, as rows of one size and as they are. A block for 32
// rows, a warp for some of the components.
__global__ void __launch_bounds__(kThreads) size_rows(FidelityEncodeJob job) {
  __shared__ float parts[kWarps][kSizedRows];
  const std::uint32_t lane = threadIdx.x % kSizedRows, warp = threadIdx.x / kSizedRows;
  const std::uint32_t row = blockIdx.x * kSizedRows + lane;
  const std::uint32_t stride = (job.components - 1) / kSizedComponents + 1;
  const float per_square = 1 / (job.plan->planned * job.plan->planned);
  const auto for_each = [&](const auto& visit) {
    for (std::uint32_t k = warp * stride; k < job.components; k += kWarps * stride) {
      const float left = job.spreads[k].left;
      if (left * per_square >= kHeardVariance) visit(k, left);
    }
  };
  const auto sum_over_warps = [&](float value) {
    __syncthreads();
    parts[warp][lane] = value;
    __syncthreads();
    float sum = 0;
    for (std::uint32_t w = 0; w < kWarps; ++w) sum += parts[w][lane];
    return sum;
  };
  float size = 0, heard = 0, alike = 0, bits = 0;
  for_each([&](std::uint32_t k, float left) {
    const float value = row < job.rows ? Residual(job, k)(row) : 0;
    size += value * value / left;
    heard += 1;
  });
  size = sum_over_warps(size);
  heard = sum_over_warps(heard);
  // A mean of few squares has a logarithm that is too small on average.
  if (heard > 0) size *= expf(1 / heard + 1 / (3 * heard * heard)) / heard;
  for_each([&](std::uint32_t, float left) {
    alike += kOtherBits + log2f(1 + kGain * left * per_square) / 2;
    bits += kOtherBits + log2f(1 + kGain * left * per_square * size) / 2;
  });
  alike = sum_over_warps(alike);
  bits = sum_over_warps(row < job.rows ? bits : 0.0f);
  if (warp != 0) return;
  bits = warp_sum(bits);
  if (lane != 0) return;
  job.row_bits[blockIdx.x] = bits;
  if (blockIdx.x == 0 && heard >= kLeastHeard) job.outcome->row_bits = alike;
}

}  // namespace

void launch_row_sizes(const FidelityEncodeJob& job, cudaStream_t stream) {
  size_rows<<<(job.rows - 1) / kSizedRows + 1, kThreads, 0, stream>>>(job);
}

void launch_step_choice(const FidelityEncodeJob& job, cudaStream_t stream) {
  start_behind(try_steps, job.components, kThreads, 0, stream, job);
  start_behind(choose_step, 1, kChoiceThreads, 0, stream, job);
}

}  // namespace pinion::codec::cuda
