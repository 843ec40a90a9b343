// What a frame of mode 2 is to be, from spreads of its components (docs/format.md §6.2): the error that they
// may have, a step about, and predictors.

#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/fidelity_residual.cuh"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kWarps = kThreads / 32;
constexpr std::uint32_t kPlanThreads = 1024, kPlanWarps = kPlanThreads / 32;
constexpr std::uint32_t kNearComponents = 1024;  // whose spreads fit in shared memory
constexpr float kRidge = 1e-6f;                  // against references that say the same
constexpr int kRefinements = 2;                  // of the sets of coefficients
constexpr int kCoefficientOne = 64, kMostCoefficient = 255;
constexpr double kLeastGoal = 0.02;  // of the target, for what is not outside

// A block for each component.
__global__ void __launch_bounds__(kThreads) spread_components(FidelityEncodeJob job) {
  wait_for_earlier_work();
  __shared__ double scratch[9][kWarps];
  __shared__ double sums[9];
  const std::uint32_t k = blockIdx.x;
  const float* const values = job.values + std::size_t{k} * job.pitch;
  const ReferenceValues before(job, k);
  const float first = __ldg(values);
  float of[9] = {};
#pragma unroll 4
  for (std::uint32_t row = threadIdx.x; row < job.rows; row += kThreads) {
    const float own = __ldg(values + row) - first, newer = before.at(0, row), older = before.at(1, row);
    of[0] += own, of[1] += newer, of[2] += older;
    of[3] += own * own, of[4] += newer * newer, of[5] += older * older;
    of[6] += own * newer, of[7] += own * older, of[8] += newer * older;
  }
  const double sum = block_sums<9, kWarps>(of, scratch);
  if (threadIdx.x < 9) sums[threadIdx.x] = sum / job.rows;
  __syncthreads();
  if (threadIdx.x != 0) return;
  const auto product = [&](std::uint32_t at, std::uint32_t i, std::uint32_t j) {
    return static_cast<float>(sums[at] - sums[i] * sums[j]);
  };
  ComponentSpread spread{};
  spread.own = fmaxf(product(3, 0, 0), 0);
  spread.square[0] = fmaxf(product(4, 1, 1), 0);
  spread.square[1] = fmaxf(product(5, 2, 2), 0);
  spread.cross[0] = product(6, 0, 1);
  spread.cross[1] = product(7, 0, 2);
  spread.between = product(8, 1, 2);
  spread.left = spread.own;
  spread.mean = static_cast<float>(first + sums[0]);
  job.spreads[k] = spread;
}

struct Set {
  float first, second;
};

__device__ float left_after(const ComponentSpread& c, const Set& set) {
  const float linear = set.first * c.cross[0] + set.second * c.cross[1];
  const float quadratic = set.first * set.first * c.square[0] + set.second * set.second * c.square[1] +
                          2 * set.first * set.second * c.between;
  return fmaxf(0, c.own - 2 * linear + quadratic);
}

__device__ float best_first(const ComponentSpread& c, float second) {
  return c.square[0] > 0 ? fmaxf(0, (c.cross[0] - second * c.between) / c.square[0]) : 0;
}

__device__ Set best_set(const ComponentSpread& c) {
  const float a = c.square[0] * (1 + kRidge), b = c.square[1] * (1 + kRidge);
  const float determinant = a * b - c.between * c.between;
  if (!(c.square[1] > 0) || !(determinant > 0)) return {best_first(c, 0), 0};
  const float second = fminf(fmaxf((c.cross[1] * a - c.cross[0] * c.between) / determinant, -2), 2);
  return {best_first(c, second), second};
}

// The nearest coefficients that can be written.
__device__ Set writable(const ComponentSpread& c) {
  const float second =
      fminf(fmaxf(roundf(best_set(c).second * kCoefficientOne), -kOlderZero), kOlderZero - 1) /
      kCoefficientOne;
  const float first = fminf(roundf(best_first(c, second) * kCoefficientOne), kMostCoefficient);
  return {first / kCoefficientOne, second};
}

// Spreads where they are near. Their numbers lie an odd number of words apart in shared memory.
struct SpreadList {
  float* first;
  std::uint32_t stride;

  __device__ ComponentSpread operator[](std::uint32_t k) const {
    const float* const at = first + k * stride;
    return {at[0], {at[1], at[2]}, {at[3], at[4]}, at[5], at[6], at[7]};
  }
  __device__ float& left(std::uint32_t k) const { return first[k * stride + 6]; }
};
constexpr std::uint32_t kSpreadWords = sizeof(ComponentSpread) / 4;

struct PlanMemory {
  double sums[6][kPlanWarps], totals[6];
  float errors[kPlanWarps];
  Set sets[kPredictorSets];
  std::uint32_t uses[kPredictorSets], place_of[kPredictorSets];
  float near[kNearComponents * (kSpreadWords + 1)];
};

// The coarsest of 32 steps from `low` on whose expected error meets the goal; a warp for each.
__device__ float coarsest_step(const FidelityEncodeJob& job, const SpreadList& spreads, double goal,
                               float low, float octaves, PlanMemory& memory) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto candidate = [&](std::uint32_t i) {
    return low * exp2f(octaves * static_cast<float>(i) / (kPlanWarps - 1));
  };
  const float step = candidate(warp), per_square = 1 / (step * step);
  float sum = 0;
#pragma unroll 4
  for (std::uint32_t k = lane; k < job.components; k += 32)
    sum += (job.analysis.weights == nullptr ? 1.0f : __ldg(job.analysis.weights + k)) *
           model_error(spreads.left(k) * per_square);
  sum = warp_sum(sum) * step * step;
  __syncthreads();
  if (lane == 0) memory.errors[warp] = sum;
  __syncthreads();
  std::uint32_t best = 0;
  for (std::uint32_t i = 1; i < kPlanWarps && memory.errors[i] <= goal; ++i) best = i;
  return candidate(best);
}

__device__ float planned_step(const FidelityEncodeJob& job, const SpreadList& spreads, double goal,
                              PlanMemory& memory) {
  constexpr float kOctaves = 17.5f;  // from as if 10^8 components shared the error to where nothing is said
  const float low = static_cast<float>(sqrt(goal)) * 1e-4f;
  const float rough = coarsest_step(job, spreads, goal, low, kOctaves, memory);
  return coarsest_step(job, spreads, goal, rough, kOctaves / (kPlanWarps - 1), memory);
}

// The set that suits components best together, each weighed by what its residual is worth. By one warp.
template <class Has>
__device__ Set pooled_set(const FidelityEncodeJob& job, const SpreadList& spreads, float square,
                          const Has& has) {
  const std::uint32_t lane = threadIdx.x % 32;
  ComponentSpread sum{};
#pragma unroll 2
  for (std::uint32_t k = lane; k < job.components; k += 32) {
    if (!has(k)) continue;
    const ComponentSpread c = spreads[k];
    const float weight = 1 / (c.left + square / kGain);
    sum.own += weight * c.own, sum.between += weight * c.between;
#pragma unroll
    for (std::uint32_t i = 0; i < kReferences; ++i)
      sum.cross[i] += weight * c.cross[i], sum.square[i] += weight * c.square[i];
  }
  sum.own = warp_sum(sum.own), sum.between = warp_sum(sum.between);
#pragma unroll
  for (std::uint32_t i = 0; i < kReferences; ++i)
    sum.cross[i] = warp_sum(sum.cross[i]), sum.square[i] = warp_sum(sum.square[i]);
  return writable(sum);
}

// Sets of coefficients: one for each of some neighbours, then moved to where those that choose it want it.
__device__ void choose_sets(const FidelityEncodeJob& job, const SpreadList& spreads, float step,
                            PlanMemory& memory) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const float square = step * step;
  const auto assign = [&] {
    __syncthreads();
    for (std::uint32_t k = threadIdx.x; k < job.components; k += kPlanThreads) {
      std::uint32_t best = 0;
      const ComponentSpread c = spreads[k];
      float least = left_after(c, memory.sets[0]);
#pragma unroll 4
      for (std::uint32_t i = 1; i < kPredictorSets; ++i) {
        const float left = left_after(c, memory.sets[i]);
        if (left < least) least = left, best = i;
      }
      job.predictor_of[k] = static_cast<std::uint8_t>(best);
    }
    __syncthreads();
  };
  if (warp < kPredictorSets) {  // the first set predicts nothing; leading components get more
    const auto border = [&](std::uint32_t i) {
      const float part = static_cast<float>(i) / (kPredictorSets - 1);
      return static_cast<std::uint32_t>(part * part * static_cast<float>(job.components));
    };
    const std::uint32_t first = warp == 0 ? 0 : border(warp - 1), end = warp == 0 ? 0
                                                                        : warp == kPredictorSets - 1
                                                                            ? job.components
                                                                            : border(warp);
    const Set set = pooled_set(job, spreads, square, [&](std::uint32_t k) { return k >= first && k < end; });
    if (lane == 0) memory.sets[warp] = set;
  }
  for (int i = 0; i < kRefinements; ++i) {
    assign();
    if (warp > 0 && warp < kPredictorSets) {
      const Set set =
          pooled_set(job, spreads, square, [&](std::uint32_t k) { return job.predictor_of[k] == warp; });
      if (lane == 0 && (set.first != 0 || set.second != 0)) memory.sets[warp] = set;
    }
  }
  assign();
}

// Those that are used most come first: they are cheaper to name.
__device__ void order_sets(const FidelityEncodeJob& job, FidelityPlan& plan, PlanMemory& memory) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp < kPredictorSets) {
    std::uint32_t uses = 0;
    for (std::uint32_t k = lane; k < job.components; k += 32) uses += job.predictor_of[k] == warp ? 1 : 0;
    uses = warp_sum(uses);
    if (lane == 0) memory.uses[warp] = uses;
  }
  __syncthreads();
  if (threadIdx.x < kPredictorSets) {
    const std::uint32_t own = memory.uses[threadIdx.x];
    std::uint32_t place = 0;
    for (std::uint32_t i = 0; i < kPredictorSets; ++i)
      place += memory.uses[i] > own || (memory.uses[i] == own && i < threadIdx.x) ? 1 : 0;
    memory.place_of[threadIdx.x] = place;
    const Set set = memory.sets[threadIdx.x];
    plan.coefficients[place][0] = set.first;
    plan.coefficients[place][1] = set.second;
    plan.written[place][0] = static_cast<std::uint8_t>(__float2int_rn(set.first * kCoefficientOne));
    plan.written[place][1] =
        static_cast<std::uint8_t>(__float2int_rn(set.second * kCoefficientOne) + kOlderZero);
    if (own > 0) atomicMax(&plan.sets, place + 1);
  }
  __syncthreads();
  for (std::uint32_t k = threadIdx.x; k < job.components; k += kPlanThreads) {
    const std::uint32_t set = job.predictor_of[k];
    job.spreads[k].left = left_after(job.spreads[k], memory.sets[set]);
    job.predictor_of[k] = static_cast<std::uint8_t>(memory.place_of[set]);
  }
}

// What the target leaves to components and means. By all threads; all get it.
__device__ FidelityPlan first_plan(const FidelityEncodeJob& job, PlanMemory& memory) {
  double of[6] = {};  // energy, cross, square, energy inside of the basis, what components share, last places
  for (std::uint32_t i = threadIdx.x; i < (job.channels - 1) / kChannelBlock + 1; i += kPlanThreads) {
    of[0] += job.totals[i].energy;
    of[1] += job.totals[i].cross;
    of[2] += job.totals[i].square;
  }
  for (std::uint32_t k = threadIdx.x; job.has_basis && k < job.components; k += kPlanThreads)
    of[3] += static_cast<double>(__ldg(job.analysis.own + k)) * job.spreads[k].own;
  for (std::uint32_t i = threadIdx.x; job.has_basis && i < job.inside_blocks; i += kPlanThreads)
    of[4] += job.inside[i];
  for (std::uint32_t i = threadIdx.x; i < job.rounding_blocks; i += kPlanThreads) of[5] += job.rounding[i];
  const double sum = block_sums<6, kPlanWarps>(of, memory.sums);
  if (threadIdx.x < 6) memory.totals[threadIdx.x] = sum;
  __syncthreads();
  const double* const totals = memory.totals;
  const double rows = job.rows;
  FidelityPlan plan{};
  plan.energy = totals[0] / rows;
  const double best = totals[2] > 0 ? fmax(0.0, totals[1] / totals[2]) : 0;
  plan.mean_coefficient =
      static_cast<std::uint32_t>(fmin(rint(best * kCoefficientOne), double{kMostCoefficient}));
  if (job.has_basis) plan.outside = fmax(0.0, plan.energy - totals[3] - totals[4] / rows);
  const double target = plan.energy * job.step->error_ratio;
  plan.fixed = plan.outside + totals[5] / (12 * rows);
  plan.mean_allowed = fmin(fmax(2 / rows, 5e-4), 0.02) * target;
  plan.goal = target - plan.fixed - plan.mean_allowed / 2;
  if (threadIdx.x == 0 && !(plan.energy > 0)) job.outcome->refusal |= kNothingToCode;
  if (!(plan.goal > kLeastGoal * target) || !(plan.goal < INFINITY)) {
    if (threadIdx.x == 0) job.outcome->refusal |= kOutOfReach;
    plan.goal = 1;  // so that what follows has numbers to work on
  }
  plan.aim = plan.goal / job.step->goal_factor;
  return plan;
}

extern __shared__ __align__(16) std::byte plan_memory[];

__global__ void __launch_bounds__(kPlanThreads) plan_step(FidelityEncodeJob job) {
  PlanMemory& memory = *reinterpret_cast<PlanMemory*>(plan_memory);
  const FidelityPlan plan = first_plan(job, memory);
  const bool is_near = job.components <= kNearComponents;
  const SpreadList there{reinterpret_cast<float*>(job.spreads), kSpreadWords};
  const SpreadList spreads = is_near ? SpreadList{memory.near, kSpreadWords + 1} : there;
  __syncthreads();
  for (std::uint32_t k = threadIdx.x; k < job.components; k += kPlanThreads) {
    const ComponentSpread spread = job.spreads[k];
    for (std::uint32_t i = 0; is_near && i < kSpreadWords; ++i)
      spreads.first[k * spreads.stride + i] = there.first[k * kSpreadWords + i];
    if (job.references == 0) continue;
    const float left = left_after(spread, best_set(spread));
    there.left(k) = left;
    spreads.left(k) = left;
  }
  if (threadIdx.x == 0) *job.plan = plan;
  __syncthreads();
  const float step = planned_step(job, spreads, plan.goal, memory);
  if (job.references > 0) {
    choose_sets(job, spreads, step, memory);
    order_sets(job, *job.plan, memory);
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  const float middle = job.step->first_step > 0 ? job.step->first_step : step * job.step->planned_factor;
  job.plan->planned = step;
  for (std::uint32_t i = 0; i < kTrials; ++i)
    job.plan->trials[i] = middle * exp2f((static_cast<float>(i) - 1.5f) / 3);
}

}  // namespace

void launch_spreads(const FidelityEncodeJob& job, cudaStream_t stream) {
  start_behind(spread_components, job.components, kThreads, 0, stream, job);
}

void launch_step_plan(const FidelityEncodeJob& job, cudaStream_t stream) {
  static_assert(sizeof(PlanMemory) <= 48 * 1024);
  plan_step<<<1, kPlanThreads, sizeof(PlanMemory), stream>>>(job);
}

}  // namespace pinion::codec::cuda
