// What of a frame of mode 2 is decided once its residuals are known (docs/format.md §6.2, §6.3): shapes,
// scales, offsets, lanes and chunks. One block.

#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/fidelity_residual.cuh"
#include "pinion/codec/cuda/grid_choice.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 1024, kWarps = kThreads / 32;
constexpr std::uint32_t kMostOffset = 7;
constexpr std::uint32_t kPairs = kClassShapes * kClassShapes;
constexpr float kBytesPerChunk = 2048;
constexpr std::uint32_t kTiledRows =
    2048;  // the first chunks, with wide classes, are coded last: short ones help

struct Shared {
  double sums[kWarps], pair_sums[kPairs][kWarps], pair_bits[kPairs];
  std::uint32_t counts[kWarps];
  ClassChoice choice;
};

struct ChosenClass {
  std::uint32_t shape, scale;
  float bits;
};

__device__ ChosenClass class_of(const ClassBests& bests, std::uint32_t rare, std::uint32_t wide) {
  if (bests.coded == 0) return {0, 0, 0};
  if (bests.bits[0][rare] <= bests.bits[1][wide]) return {rare, bests.scales[0][rare], bests.bits[0][rare]};
  return {wide, bests.scales[1][wide], bests.bits[1][wide]};
}

// The pair of shapes under which all indices take least.
__device__ void choose_shapes(const FidelityEncodeJob& job, Shared& shared) {
  float bits[kPairs] = {};
#pragma unroll 1
  for (std::uint32_t k = threadIdx.x; k < job.components; k += kThreads) {
    const ClassBests bests = job.bests[k];
    if (bests.coded == 0) continue;
#pragma unroll
    for (std::uint32_t i = 0; i < kPairs; ++i)
      bits[i] += fminf(bests.bits[0][i / kClassShapes], bests.bits[1][i % kClassShapes]);
  }
  const double sum = block_sums<kPairs, kWarps>(bits, shared.pair_sums);
  if (threadIdx.x < kPairs) shared.pair_bits[threadIdx.x] = sum;
  __syncthreads();
  std::uint32_t best = kPairs - 2;  // what is usual
  for (std::uint32_t i = 0; i < kPairs; ++i) {
    if (shared.pair_bits[i] < shared.pair_bits[best]) best = i;
  }
  if (threadIdx.x == 0) shared.choice.rare = best / kClassShapes, shared.choice.wide = best % kClassShapes;
  __syncthreads();
}

// Where values are rebuilt: at the centroids of the bins, scale by scale, a warp for each.
__device__ void choose_offsets(const FidelityEncodeJob& job, Shared& shared) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp >= kOffsetScaleCount) return;
  const std::uint32_t scale = warp + 1;
  float ones = 0, more = 0, ones_excess = 0, more_excess = 0;
  std::uint32_t users = 0;
  for (std::uint32_t k = lane; k < job.components; k += 32) {
    if (job.next_scales[k] != scale) continue;
    const BinTotals& bins = job.bins[k];
    ones += bins.ones, ones_excess += bins.ones_excess;
    more += bins.more, more_excess += bins.more_excess;
    ++users;
  }
  ones = warp_sum(ones), ones_excess = warp_sum(ones_excess);
  more = warp_sum(more), more_excess = warp_sum(more_excess);
  users = warp_sum(users);
  if (lane != 0) return;
  const auto offset = [](float excess, float count) {
    const float mean = count > 0 ? -excess / count : 0;
    return static_cast<std::uint32_t>(fminf(fmaxf(rintf(16 * mean), 0), kMostOffset));
  };
  shared.choice.one[scale] = offset(ones_excess, ones);
  shared.choice.more[scale] = offset(more_excess, more);
  if (users > 0) atomicOr(&shared.choice.present, 1u << scale);
}

// Squared error of a component in squared steps, rebuilt with these offsets.
__device__ float error_with(const BinTotals& bins, float one, float more) {
  return bins.error + 2 * one * bins.ones_excess + one * one * bins.ones + 2 * more * bins.more_excess +
         more * more * bins.more;
}

__global__ void __launch_bounds__(kThreads) choose_parameters(FidelityEncodeJob job) {
  __shared__ Shared shared;
  if (threadIdx.x == 0) shared.choice.present = 0;
  choose_shapes(job, shared);
  double bits = 0;
  std::uint32_t active = 0;
  for (std::uint32_t first = 0; first < job.components; first += kThreads) {
    const std::uint32_t k = first + threadIdx.x;
    const bool mine = k < job.components;
    ChosenClass chosen{0, 0, 0};
    if (mine) {
      chosen = class_of(job.bests[k], shared.choice.rare, shared.choice.wide);
      job.next_scales[k] = static_cast<std::uint8_t>(chosen.scale);
      job.classes[k] =
          chosen.scale == 0 ? kNoIndexClass : job.tables.codes[chosen.shape * kClassScales + chosen.scale];
      bits += chosen.bits;
    }
    std::uint32_t total = 0;
    const std::uint32_t before = block_sum_before(chosen.scale > 0 ? 1u : 0u, shared.counts, total);
    if (chosen.scale > 0) job.active[active + before] = k;
    active += total;
  }
  bits = block_sum(bits, shared.sums);
  choose_offsets(job, shared);
  __syncthreads();
  double error = 0;
  for (std::uint32_t k = threadIdx.x; k < job.components; k += kThreads) {
    const std::uint32_t scale = job.next_scales[k];
    const bool has = scale > 0 && scale <= kOffsetScaleCount;
    const std::uint32_t one = has ? shared.choice.one[scale] : 0, more = has ? shared.choice.more[scale] : 0;
    job.offsets[k] = static_cast<std::uint8_t>(one | more << 4);
    const BinTotals& bins = job.bins[k];
    const float own = scale == 0
                          ? bins.square
                          : error_with(bins, static_cast<float>(one) / 16, static_cast<float>(more) / 16);
    error += static_cast<double>(own) * (job.analysis.weights == nullptr ? 1 : job.analysis.weights[k]);
  }
  error = block_sum(error, shared.sums);
  double in_bands = 0;
  for (std::uint32_t i = threadIdx.x; i < (job.rows - 1) / kSizedRows + 1; i += kThreads)
    in_bands += job.row_bits[i];
  in_bands = block_sum(in_bands, shared.sums);
  if (threadIdx.x != 0) return;

  *job.choice = shared.choice;
  IndexGrid grid;
  grid.band_ends[0] = job.rows;
  grid.active = active;
  cut_grid(grid, job.rows, static_cast<float>(bits / 8), {kBytesPerChunk, job.rows < kTiledRows ? 1u : 2u});
  *job.grid = grid;
  const FidelityPlan& plan = *job.plan;
  const double step = plan.step;
  const double reached = plan.fixed + job.mean_coding->error + error * step * step / job.rows;
  FidelityOutcome& outcome = *job.outcome;
  outcome.goal_ratio = (error * step * step / job.rows) / plan.goal;
  outcome.active = active;
  outcome.error_ratio = reached / (plan.energy * job.step->error_ratio);
  outcome.snr_db = 10 * log10(plan.energy / reached);
  outcome.step = plan.step;
  outcome.planned = plan.planned;
  outcome.mean_shift = plan.mean_shift;
  outcome.row_bits_in_bands = static_cast<float>(in_bands / job.rows);
}

}  // namespace

void launch_parameter_choice(const FidelityEncodeJob& job, cudaStream_t stream) {
  choose_parameters<<<1, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
