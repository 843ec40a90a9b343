// The classes of a calibrated frame (docs/format.md §12.3): the scales of the calibration with one offset,
// shapes and band scales that suit the frame, or a scale for each component where that is cheaper. One block.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/grid_choice.cuh"
#include "pinion/codec/cuda/row_bands.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 1024, kWarps = kThreads / 32;
constexpr int kMostOffset = 12;  // quarters of an octave by which a frame may differ from its calibration
constexpr int kOffsets = 2 * kMostOffset + 1;
static_assert(kOffsets <= static_cast<int>(kWarps) && 2 * kMostOffset <= kScaleReach);
constexpr int kOwnReach = 10;              // of a written scale around the calibrated one
constexpr float kBitsPerScaleStep = 1.5f;  // of a written scale, for moving away from the calibrated one
constexpr int kRareScales = 11;
constexpr int kMostScale = static_cast<int>(kClassScales) - 1;
constexpr float kBytesPerChunk = 3072;
constexpr std::uint32_t kUsualRare = 1, kUsualWide = 2;
constexpr std::uint32_t kMostLow = 7, kMostOnes = 40;  // of rice()
constexpr std::uint32_t kImpossible = 1 << 16;         // bits of a number that rice() cannot write

struct Shared {
  double sums[kWarps];
  std::uint32_t counts[kWarps];
  float costs[kOffsets][2 * kClassShapes];  // by offset: of rare classes of each shape, and of wide ones
  int band_scales[kIndexBands];
  int offset;
  std::uint32_t rare, wide;
  bool writes_scales;
  std::uint32_t low_bits;  // of the scales
  std::uint32_t packed_bits[kMostLow + 1];
};

// What a frame's classes are made of.
struct Choice {
  const CalibratedEncodeJob& job;
  const int* band_scales;
  std::uint32_t components, bands;
  int step;

  __device__ int calibrated(std::uint32_t k) const { return job.expected_scales[k]; }
  __device__ int most(std::uint32_t shape) const { return job.tables.max_scales[shape]; }

  // Of a component of scale `own` in a band; 0: no indices.
  __device__ int scale_in(std::uint32_t band, int own, std::uint32_t wide) const {
    return own == 0 ? 0 : max(0, min(own + band_scales[band], most(wide)));
  }
  // Bits of a class's indices, or what silence is worth. `expected` is the component's calibrated scale.
  __device__ float price(std::uint32_t k, std::uint32_t band, int scale, std::uint32_t shape,
                         int expected) const {
    if (scale == 0) return job.silent_squares[band * components + k];
    const int first = expected + first_band_scale(band) - kScaleReach;
    const int place = max(0, min(scale - first, kPricedScales - 1));
    return job.prices[((band * kClassShapes + shape) * kPricedScales + static_cast<std::uint32_t>(place)) *
                          components +
                      k];
  }
};

// Band scales, one by one: what a coarser step alone makes of them, moved to where it is cheapest.
__device__ void choose_band_scales(const Choice& choice, Shared& shared) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x < kIndexBands) shared.band_scales[threadIdx.x] = first_band_scale(threadIdx.x);
  __syncthreads();
  for (std::uint32_t band = 1; band < choice.bands; ++band) {
    if (warp < kOffsets) {
      const int moved = first_band_scale(band) + static_cast<int>(warp) - kMostOffset;
      float bits = 0;
      for (std::uint32_t k = lane; k < choice.components; k += 32) {
        const int expected = choice.calibrated(k), own = max(0, min(expected, choice.most(kUsualWide)));
        const int scale = own == 0 ? 0 : max(0, min(own + moved, choice.most(kUsualWide)));
        bits += choice.price(k, band, scale, scale <= kRareScales ? kUsualRare : kUsualWide, expected);
      }
      bits = warp_sum(bits);
      if (lane == 0) shared.costs[warp][0] = abs(moved) <= 31 ? bits : INFINITY;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int best = kMostOffset;
      for (int i = 0; i < kOffsets; ++i) {
        if (shared.costs[i][0] < shared.costs[best][0]) best = i;
      }
      shared.band_scales[band] = first_band_scale(band) + best - kMostOffset;
    }
    __syncthreads();
  }
}

// One offset for all scales, and the shapes. Returns the cost, to all threads.
__device__ float choose_offset_and_shapes(const Choice& choice, Shared& shared) {
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp < kOffsets) {
    const int offset = static_cast<int>(warp) - kMostOffset;
    float costs[2 * kClassShapes] = {};
    for (std::uint32_t band = 0; band < choice.bands; ++band) {
#pragma unroll 2
      for (std::uint32_t k = lane; k < choice.components; k += 32) {
        const int expected = choice.calibrated(k), own = max(0, min(expected + offset, kMostScale));
        const int scale = own == 0 ? 0 : max(0, min(own + choice.band_scales[band], kMostScale));
        const std::uint32_t part = scale <= kRareScales ? 0 : kClassShapes;
#pragma unroll
        for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) {
          const float bits = choice.price(k, band, scale, shape, expected);
          costs[shape] += part == 0 ? bits : 0;
          costs[kClassShapes + shape] += part == 0 ? 0 : bits;
        }
      }
    }
#pragma unroll
    for (std::uint32_t i = 0; i < 2 * kClassShapes; ++i) {
      const float sum = warp_sum(costs[i]);
      if (lane == 0) shared.costs[warp][i] = sum;
    }
  }
  __syncthreads();
  float least = INFINITY;
  int best = 0;
  std::uint32_t rare = 0, wide = 0;
  for (int i = 0; i < kOffsets; ++i) {
    std::uint32_t best_rare = kUsualRare, best_wide = kUsualWide;
    const float* const costs = shared.costs[i];
    for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) {
      if (costs[shape] < costs[best_rare]) best_rare = shape;
      if (costs[kClassShapes + shape] < costs[kClassShapes + best_wide]) best_wide = shape;
    }
    const float cost = costs[best_rare] + costs[kClassShapes + best_wide];
    if (!(cost < least)) continue;
    least = cost, best = i, rare = best_rare, wide = best_wide;
  }
  if (threadIdx.x == 0) {
    shared.offset = best - kMostOffset;
    shared.rare = rare;
    shared.wide = wide;
    shared.writes_scales = false;
  }
  __syncthreads();
  return least;
}

// Each component's best scale near the calibrated one, with the bits that it takes to write.
__device__ void choose_own_scales(const Choice& choice, float least, Shared& shared) {
  const std::uint32_t rare = shared.rare;
  double sums[kClassShapes] = {};
  for (std::uint32_t i = threadIdx.x; i < kClassShapes * choice.components; i += kThreads) {
    const std::uint32_t wide = i / choice.components, k = i % choice.components;
    const int calibrated = choice.calibrated(k);
    const int expected = max(0, min(calibrated + shared.offset, choice.most(wide)));
    const auto price = [&](int own) {
      float bits = 1 + kBitsPerScaleStep * static_cast<float>(abs(own - expected));
      for (std::uint32_t band = 0; band < choice.bands; ++band) {
        const int scale = choice.scale_in(band, own, wide);
        bits += choice.price(k, band, scale, scale <= kRareScales ? rare : wide, calibrated);
      }
      return bits;
    };
    int best = expected;
    float cheapest = price(expected);
    if (const float silent = price(0); silent < cheapest) cheapest = silent, best = 0;
#pragma unroll 4
    for (int j = -kOwnReach; j <= kOwnReach; ++j) {
      const int own = max(1, min(expected + j, choice.most(wide)));
      if (const float bits = price(own); bits < cheapest) cheapest = bits, best = own;
    }
    choice.job.own_scales[i] = static_cast<std::uint8_t>(best);
#pragma unroll
    for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) sums[shape] += shape == wide ? cheapest : 0;
  }
#pragma unroll
  for (std::uint32_t wide = 0; wide < kClassShapes; ++wide) {
    const double sum = block_sum(sums[wide], shared.sums);
    if (!(sum < least)) continue;
    least = static_cast<float>(sum);
    if (threadIdx.x == 0) shared.wide = wide, shared.writes_scales = true;
  }
  __syncthreads();
}

struct ChosenScales {
  const Choice& choice;
  const Shared& shared;
  __device__ int calibrated(std::uint32_t k) const {
    return max(0, min(choice.calibrated(k) + shared.offset, choice.most(shared.wide)));
  }
  __device__ int own(std::uint32_t k) const {
    return shared.writes_scales ? choice.job.own_scales[shared.wide * choice.components + k] : calibrated(k);
  }
  // As it is written: zigzag of the difference.
  __device__ std::uint32_t written(std::uint32_t k) const {
    const int difference = own(k) - calibrated(k);
    return static_cast<std::uint32_t>(difference >= 0 ? 2 * difference : -2 * difference - 1);
  }
};

// Packs the scales: three bits that say how many low ones, then rice() of each.
__device__ std::uint32_t pack_scales(const Choice& choice, const ChosenScales& scales, Shared& shared) {
  if (threadIdx.x <= kMostLow) shared.packed_bits[threadIdx.x] = 0;
  __syncthreads();
  for (std::uint32_t low = 0; low <= kMostLow; ++low) {
    std::uint32_t bits = 0;
    for (std::uint32_t k = threadIdx.x; k < choice.components; k += kThreads) {
      const std::uint32_t ones = scales.written(k) >> low;
      bits += ones + 1 + low + (ones > kMostOnes ? kImpossible : 0);
    }
    bits = warp_sum(bits);
    if (threadIdx.x % 32 == 0) atomicAdd(&shared.packed_bits[low], bits);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.low_bits = kMostLow;
    for (std::uint32_t low = 0; low < kMostLow; ++low) {
      if (shared.packed_bits[low] < shared.packed_bits[shared.low_bits]) shared.low_bits = low;
    }
  }
  __syncthreads();
  const std::uint32_t low = shared.low_bits;
  std::uint32_t* const words = choice.job.scale_words;
  const auto put = [&](std::uint32_t at, std::uint32_t value) {
    atomicOr(words + at / 32, value << at % 32);
    if (at % 32 != 0 && value >> (32 - at % 32) != 0) atomicOr(words + at / 32 + 1, value >> (32 - at % 32));
  };
  if (threadIdx.x == 0) put(0, low);
  std::uint32_t begin = 3;
  for (std::uint32_t first = 0; first < choice.components; first += kThreads) {
    const std::uint32_t k = first + threadIdx.x;
    const bool mine = k < choice.components;
    const std::uint32_t value = mine ? scales.written(k) : 0, ones = value >> low;
    std::uint32_t total = 0;
    std::uint32_t at = begin + block_sum_before(mine ? ones + 1 + low : 0u, shared.counts, total);
    begin += total;
    if (!mine) continue;
    const std::uint32_t tail = (value & ((1u << low) - 1)) << 1;  // the zero, then the low bits
    for (std::uint32_t left = ones; left > 0;) {
      const std::uint32_t some = min(left, 24u);
      put(at, (1u << some) - 1);
      at += some, left -= some;
    }
    put(at, tail);
  }
  return (begin + 7) / 8;
}

__device__ void put_16(std::uint8_t* to, int value) {
  to[0] = static_cast<std::uint8_t>(value & 255);
  to[1] = static_cast<std::uint8_t>(value >> 8 & 255);
}

// The body's fields up to the map of the bands.
__device__ void write_fields(const Choice& choice, const Shared& shared, double output_snr_db) {
  const CalibratedEncodeJob& job = choice.job;
  const CalibratedStep& step = *job.predict.step;
  std::uint8_t* to = job.body->first;
  for (std::uint32_t i = 0; i < step.params_bytes; ++i) to[i] = step.params[i];
  put_16(to + 3, choice.step);
  put_16(to + 5, __double2int_rn(100 * output_snr_db));
  to[7] = static_cast<std::uint8_t>(shared.rare | shared.wide << 2 | (shared.writes_scales ? 16 : 0) |
                                    (choice.bands > 1 ? 32 : 0));
  to[8] = static_cast<std::uint8_t>(shared.offset);
  to += step.params_bytes;
  if (choice.bands > 1) {
    *to++ = static_cast<std::uint8_t>(choice.bands);
    *to++ = kBandGrowth;
    for (std::uint32_t band = 1; band < choice.bands; ++band)
      *to++ = static_cast<std::uint8_t>(shared.band_scales[band]);
    if (!step.has_previous) *to++ = static_cast<std::uint8_t>(job.order->first_band);
    *to++ = static_cast<std::uint8_t>(job.order->map_shape);
    *to++ = static_cast<std::uint8_t>(job.order->map_scale);
  }
  job.body->first_bytes = static_cast<std::uint32_t>(to - job.body->first);
}

__device__ double snr_db(double signal, double error) {
  constexpr double kMost = 300;
  if (signal <= error * 1e-30) return -kMost;
  return error <= signal * 1e-30 ? kMost : 10 * log10(signal / error);
}

__global__ void __launch_bounds__(kThreads) choose_classes(CalibratedEncodeJob job) {
  __shared__ Shared shared;
  const Choice choice{job, shared.band_scales, job.predict.calibration.components, bands_of(job),
                      job.plan->step};
  choose_band_scales(choice, shared);
  choose_own_scales(choice, choose_offset_and_shapes(choice, shared), shared);
  const ChosenScales scales{choice, shared};

  double error = 0, bits = 0;
  std::uint32_t active = 0;
  for (std::uint32_t first = 0; first < choice.components; first += kThreads) {
    const std::uint32_t k = first + threadIdx.x;
    const bool mine = k < choice.components;
    const int own = mine ? scales.own(k) : 0;
    const int calibrated = mine ? choice.calibrated(k) : 0;
    for (std::uint32_t band = 0; mine && band < choice.bands; ++band) {
      const int scale = choice.scale_in(band, own, shared.wide);
      const std::uint32_t shape = scale <= kRareScales ? shared.rare : shared.wide;
      job.classes[k * choice.bands + band] =
          scale == 0 ? kNoIndexClass : job.tables.class_codes[shape * kClassScales + scale];
      const std::size_t at = std::size_t{band} * choice.components + k;
      error += job.errors[at] + (scale == 0 ? job.silences[at] : 0);
      if (scale > 0) bits += choice.price(k, band, scale, shape, calibrated);
    }
    std::uint32_t total = 0;
    const std::uint32_t before = block_sum_before(own > 0 ? 1u : 0u, shared.counts, total);
    if (own > 0) job.active[active + before] = k;
    active += total;
  }
  error = block_sum(error, shared.sums);
  bits = block_sum(bits, shared.sums);
  const std::uint32_t scale_bytes = shared.writes_scales ? pack_scales(choice, scales, shared) : 0;
  if (threadIdx.x != 0) return;

  const CalibratedStep& step = *job.predict.step;
  const double output_snr_db = snr_db(step.signal, error + weight_sum(job) * step.floor);
  IndexGrid grid;
  grid.bands = choice.bands;
  grid.band_ends[0] = job.predict.rows;
  for (std::uint32_t band = 0; job.order != nullptr && band < choice.bands; ++band)
    grid.band_ends[band] = job.order->ends[band];
  grid.active = active;
  cut_grid(grid, job.predict.rows, static_cast<float>(bits / 8), {kBytesPerChunk});
  *job.grid = grid;
  job.body->scale_bytes = scale_bytes;
  write_fields(choice, shared, output_snr_db);
  job.outcome->coded_bits = bits;
  job.outcome->output_snr_db = output_snr_db;
  for (std::uint32_t band = 0; band < kIndexBands; ++band)
    job.band_steps[band] = job.tables.steps[choice.step + static_cast<int>(band) * kBandGrowth - kLeastStep];
  job.outcome->step = job.tables.steps[choice.step - kLeastStep];
}

}  // namespace

void launch_class_choice(const CalibratedEncodeJob& job, cudaStream_t stream) {
  choose_classes<<<1, kThreads, 0, stream>>>(job);
}

}  // namespace pinion::codec::cuda
