// Rows by how loud they are (docs/format.md §12.6, §13.1): bands, coded order, and the map that says so.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/row_bands.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 1024, kWarps = kThreads / 32;
constexpr double kMostLoudness = 20;  // octaves, either way

// A warp for each row.
__global__ void hear(CalibratedEncodeJob job) {
  const CalibrationArrays& calibration = job.predict.calibration;
  const CalibratedStep& step = *job.predict.step;
  const std::uint32_t row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= job.predict.rows) return;
  double sum = 0;
#pragma unroll 4
  for (std::uint32_t c = threadIdx.x % 32; c < calibration.channels; c += 32) {
    const float value =
        element_as_float(step.tensor, job.dtype, std::size_t{row} * calibration.channels + c) -
        blended_at(calibration.means, calibration.channels, step.records, c);
    sum +=
        static_cast<double>(blended_at(calibration.loudness, calibration.channels, step.records, c)) * value;
  }
  sum = warp_sum(sum) + step.loudness_bias;
  if (threadIdx.x % 32 == 0)
    job.row_loudness[row] = static_cast<float>(fmin(fmax(sum, -kMostLoudness), kMostLoudness));
}

struct Shared {
  double sums[kWarps];
  std::uint32_t counts[kWarps];
  float loudest[kWarps];
  std::uint32_t values[kIndexBands];  // of the map, by size
  float costs[kWarps];
  std::uint32_t classes[kWarps];
};

__device__ std::uint32_t band_of(const CalibratedEncodeJob& job, double loudest, float loudness) {
  const double band = round((loudest - loudness) / job.band_octaves);
  return static_cast<std::uint32_t>(fmin(fmax(band, 0), kIndexBands - 1));
}

__device__ float loudest_of(const CalibratedEncodeJob& job, Shared& shared) {
  float loudest = -INFINITY;
  for (std::uint32_t row = threadIdx.x; row < job.predict.rows; row += kThreads)
    loudest = fmaxf(loudest, job.row_loudness[row]);
  for (int step = 16; step > 0; step /= 2)
    loudest = fmaxf(loudest, __shfl_xor_sync(0xffffffffu, loudest, step));
  if (threadIdx.x % 32 == 0) shared.loudest[threadIdx.x / 32] = loudest;
  __syncthreads();
  for (std::uint32_t w = 0; w < kWarps; ++w) loudest = fmaxf(loudest, shared.loudest[w]);
  return loudest;
}

// The class that codes the map's values in the fewest bits; they are in `shared.values` by size.
__device__ void choose_map_class(const CalibratedEncodeJob& job, Shared& shared) {
  const std::uint32_t shape = threadIdx.x / 128, scale = threadIdx.x % 128;
  float bits = INFINITY;
  if (shape < kClassShapes && scale >= 1 && scale <= job.tables.max_scales[shape]) {
    bits = 0;
    const float* const costs = job.tables.class_costs + (shape * kClassScales + scale) * kMagnitudeBins;
    for (std::uint32_t size = 0; size < kIndexBands; ++size)
      bits += static_cast<float>(shared.values[size]) * costs[size];
  }
  std::uint32_t best = threadIdx.x;
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, bits, step);
    const std::uint32_t thread = __shfl_xor_sync(0xffffffffu, best, step);
    if (other < bits || (other == bits && thread < best)) bits = other, best = thread;
  }
  if (threadIdx.x % 32 == 0) shared.costs[threadIdx.x / 32] = bits, shared.classes[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  std::uint32_t warp = 0;
  for (std::uint32_t w = 1; w < kWarps; ++w) {
    if (shared.costs[w] < shared.costs[warp]) warp = w;
  }
  job.order->map_shape = shared.classes[warp] / 128;
  job.order->map_scale = shared.classes[warp] % 128;
  *job.map_class = job.tables.class_codes[job.order->map_shape * kClassScales + job.order->map_scale];
}

// What each row's band is more than what is expected of it.
__device__ void map_bands(const CalibratedEncodeJob& job, std::uint32_t bands, std::uint32_t first_band,
                          Shared& shared) {
  const CalibratedStep& step = *job.predict.step;
  if (threadIdx.x < kIndexBands) shared.values[threadIdx.x] = 0;
  __syncthreads();
  bool silent = true;
  for (std::uint32_t row = threadIdx.x; row < job.predict.rows; row += kThreads) {
    int expected = static_cast<int>(first_band);
    if (step.has_previous)
      expected = step.last_bands == nullptr ? 0 : min(int{step.last_bands[row]}, static_cast<int>(bands) - 1);
    const int value = step.next_bands[row] - expected;
    job.map_values[row] = value;
    silent = silent && value == 0;
    atomicAdd(&shared.values[abs(value)], 1u);
  }
  if (__syncthreads_and(silent) == 0) return choose_map_class(job, shared);
  if (threadIdx.x == 0) {
    *job.map_class = kNoIndexClass;
    job.order->map_shape = job.order->map_scale = 0;
  }
}

__global__ void __launch_bounds__(kThreads) order_rows(CalibratedEncodeJob job) {
  __shared__ Shared shared;
  const std::uint32_t rows = job.predict.rows;
  std::uint8_t* const band_of_row = job.predict.step->next_bands;
  const double loudest = loudest_of(job, shared);
  std::uint32_t bands = 1;
  for (std::uint32_t row = threadIdx.x; row < rows; row += kThreads) {
    const std::uint32_t band = band_of(job, loudest, job.row_loudness[row]);
    band_of_row[row] = static_cast<std::uint8_t>(band);
    bands = max(bands, band + 1);
  }
  for (std::uint32_t most = kIndexBands; most > 1; --most) {
    if (__syncthreads_or(bands >= most) == 0) continue;
    bands = most;
    break;
  }
  __syncthreads();
  std::uint32_t end = 0, fullest = 0, first_band = 0;
  for (std::uint32_t band = 0; band < bands; ++band) {
    const std::uint32_t begin = end;
    double weight = 0;
    for (std::uint32_t first = 0; first < rows; first += kThreads) {
      const std::uint32_t row = first + threadIdx.x;
      const bool here = row < rows && band_of_row[row] == band;
      std::uint32_t total = 0;
      const std::uint32_t before = block_sum_before(here ? 1u : 0u, shared.counts, total);
      if (here) {
        const double own = exp2(static_cast<double>(job.row_loudness[row]));
        job.row_at[end + before] = row;
        job.row_weights[end + before] = own;
        weight += own;
      }
      end += total;
    }
    weight = block_sum(weight, shared.sums);
    if (end - begin > fullest) fullest = end - begin, first_band = band;
    if (threadIdx.x == 0) job.order->ends[band] = end, job.order->weights[band] = weight;
  }
  if (threadIdx.x == 0) job.order->bands = bands, job.order->first_band = first_band;
  map_bands(job, bands, first_band, shared);
}

}  // namespace

void launch_row_order(const CalibratedEncodeJob& job, cudaStream_t stream) {
  constexpr std::uint32_t kHearing = 128;
  hear<<<(job.predict.rows - 1) / (kHearing / 32) + 1, kHearing, 0, stream>>>(job);
  order_rows<<<1, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
