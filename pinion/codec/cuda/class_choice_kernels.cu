// The classes of a calibrated frame (docs/format.md §12.3): the scales of the calibration with one offset,
// shapes and band scales that suit the frame, or a scale for each component where that is cheaper.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/grid_choice.cuh"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/row_bands.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kWarps = kThreads / 32;
constexpr std::uint32_t kBandThreads = 1024, kBandWarps = kBandThreads / 32;
constexpr std::uint32_t kOwnComponents = kThreads / kClassShapes;  // of a block that chooses own scales
static_assert(kOwnComponents == kOwnScaleComponents && kOwnComponents % 32 == 0);
constexpr int kMostOffset = 12;  // quarters of an octave by which a frame may differ from its calibration
constexpr int kOffsets = 2 * kMostOffset + 1;
static_assert(kOffsets == static_cast<int>(kScaleOffsets) && kOffsets <= static_cast<int>(kBandWarps) &&
              2 * kMostOffset <= kScaleReach);
constexpr std::uint32_t kParts = 2 * kClassShapes;  // costs of rare classes of each shape, and of wide ones
constexpr int kOwnReach = 10;                       // of a written scale around the calibrated one
constexpr int kOwnTried = 2 * kOwnReach + 3;
constexpr float kBitsPerScaleStep = 1.5f;  // of a written scale, for moving away from the calibrated one
constexpr int kRareScales = 11;
constexpr int kMostScale = static_cast<int>(kClassScales) - 1;
constexpr int kMostBandScale = 31;
constexpr float kBytesPerChunk = 3072;
constexpr std::uint32_t kUsualRare = 1, kUsualWide = 2;
constexpr std::uint32_t kMostLow = 7, kMostOnes = 40;  // of rice()
constexpr std::uint32_t kImpossible = 1 << 16;         // bits of a number that rice() cannot write

struct Shared {
  double sums[kWarps];
  std::uint32_t counts[kWarps];
  int offset;
  std::uint32_t rare, wide;
  float least;  // cost of the calibrated scales
  bool writes_scales;
  std::uint32_t low_bits;  // of the scales
  std::uint32_t packed_bits[kMostLow + 1];
};

// What a frame's classes are made of.
struct Choice {
  const CalibratedEncodeJob& job;
  std::uint32_t components, bands;
  int step;

  __device__ explicit Choice(const CalibratedEncodeJob& of)
      : job(of), components(of.predict.calibration.components), bands(bands_of(of)), step(of.plan->step) {}

  __device__ int calibrated(std::uint32_t k) const { return job.expected_scales[k]; }
  __device__ int most(std::uint32_t shape) const { return job.tables.max_scales[shape]; }
  __device__ int band_scale(std::uint32_t band) const { return band == 0 ? 0 : job.band_scales[band]; }

  // Of a component of scale `own` in a band; 0: no indices.
  __device__ int scale_in(std::uint32_t band, int own, std::uint32_t wide) const {
    return own == 0 ? 0 : max(0, min(own + band_scale(band), most(wide)));
  }
  // Bits of a class's indices, or what silence is worth. `expected` is the component's calibrated scale.
  __device__ float price(std::uint32_t k, std::uint32_t band, int scale, std::uint32_t shape,
                         int expected) const {
    const int first = expected + first_band_scale(job, band) - kScaleReach;
    const auto place = static_cast<std::uint32_t>(max(0, min(scale - first, kPricedScales - 1)));
    const float* const price =
        job.prices + ((band * kClassShapes + shape) * kPricedScales + place) * components;
    return __ldg((scale == 0 ? job.silent_squares + band * components : price) + k);
  }
};

// The cheapest of kOffsets scales, from `first` on, that a band may have beside the components' at an offset.
// By all threads of a block.
__device__ int cheapest_band_scale(const Choice& choice, std::uint32_t band, int offset, int first) {
  __shared__ float costs[kOffsets];
  const std::uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  __syncthreads();
  if (warp < kOffsets) {
    const int moved = first + static_cast<int>(warp);
    float bits = 0;
#pragma unroll 4
    for (std::uint32_t k = lane; k < choice.components; k += 32) {
      const int expected = choice.calibrated(k);
      const int own = max(0, min(expected + offset, choice.most(kUsualWide)));
      const int scale = own == 0 ? 0 : max(0, min(own + moved, choice.most(kUsualWide)));
      bits += choice.price(k, band, scale, scale <= kRareScales ? kUsualRare : kUsualWide, expected);
    }
    bits = warp_sum(bits);
    if (lane == 0) costs[warp] = abs(moved) <= kMostBandScale ? bits : INFINITY;
  }
  __syncthreads();
  int best = kMostOffset;
  for (int i = 0; i < kOffsets; ++i) {
    if (costs[i] < costs[best]) best = i;
  }
  return first + best;
}

// A block for each band but the first: its scale, at the offset that suits the first band.
__global__ void __launch_bounds__(kBandThreads) choose_band_scales(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  const Choice choice(job);
  const std::uint32_t band = blockIdx.x + 1;
  if (band >= choice.bands) return;
  const int offset = cheapest_band_scale(choice, 0, 0, -kMostOffset);
  const int scale =
      cheapest_band_scale(choice, band, offset, first_band_scale(job, band) - offset - kMostOffset);
  if (threadIdx.x == 0) job.band_scales[band] = scale;
}

// A block for each offset of all scales: what rare and wide classes of each shape cost at it.
__global__ void __launch_bounds__(kThreads) price_offsets(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  __shared__ float sums[kWarps][kParts];
  const Choice choice(job);
  const int offset = static_cast<int>(blockIdx.x) - kMostOffset;
  float costs[kParts] = {};
  for (std::uint32_t band = 0; band < choice.bands; ++band) {
    const int moved = choice.band_scale(band);
#pragma unroll 2
    for (std::uint32_t k = threadIdx.x; k < choice.components; k += kThreads) {
      const int expected = choice.calibrated(k), own = max(0, min(expected + offset, kMostScale));
      const int scale = own == 0 ? 0 : max(0, min(own + moved, kMostScale));
      const bool is_rare = scale <= kRareScales;
#pragma unroll
      for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) {
        const float bits = choice.price(k, band, scale, shape, expected);
        costs[shape] += is_rare ? bits : 0;
        costs[kClassShapes + shape] += is_rare ? 0 : bits;
      }
    }
  }
#pragma unroll
  for (std::uint32_t i = 0; i < kParts; ++i) {
    const float sum = warp_sum(costs[i]);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32][i] = sum;
  }
  __syncthreads();
  if (threadIdx.x >= kParts) return;
  float sum = 0;
  for (std::uint32_t w = 0; w < kWarps; ++w) sum += sums[w][threadIdx.x];
  job.offset_costs[blockIdx.x * kParts + threadIdx.x] = sum;
}

// The cheapest offset, and the shapes that suit it.
__device__ void choose_offset_and_shapes(const CalibratedEncodeJob& job, Shared& shared) {
  if (threadIdx.x < 32) {
    const std::uint32_t lane = threadIdx.x;
    std::uint32_t rare = kUsualRare, wide = kUsualWide;
    float cost = INFINITY;
    if (lane < kOffsets) {
      const float* const costs = job.offset_costs + lane * kParts;
      for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) {
        if (costs[shape] < costs[rare]) rare = shape;
        if (costs[kClassShapes + shape] < costs[kClassShapes + wide]) wide = shape;
      }
      cost = costs[rare] + costs[kClassShapes + wide];
    }
    float least = cost;
    for (int step = 16; step > 0; step /= 2) least = fminf(least, __shfl_xor_sync(0xffffffffu, least, step));
    const std::uint32_t best = __ffs(static_cast<int>(__ballot_sync(0xffffffffu, cost == least))) - 1;
    if (lane == best) {
      shared.offset = static_cast<int>(best) - kMostOffset;
      shared.rare = rare;
      shared.wide = wide;
      shared.least = least;
      shared.writes_scales = false;
    }
  }
  __syncthreads();
}

// The best scales of some components near the calibrated ones, with the bits that it takes to write them.
__device__ void choose_own_scales(const Choice& choice, const Shared& shared, double* sums) {
  const std::uint32_t wide = threadIdx.x / kOwnComponents;
  const std::uint32_t k = blockIdx.x * kOwnComponents + threadIdx.x % kOwnComponents;
  float cheapest = 0;
  if (k < choice.components) {
    const int calibrated = choice.calibrated(k);
    const int expected = max(0, min(calibrated + shared.offset, choice.most(wide)));
    // The expected one, silence, and those in reach; prices of all are on their way at once.
    const auto own_at = [&](int i) {
      if (i < 2) return i == 0 ? expected : 0;
      return max(1, min(expected + i - 2 - kOwnReach, choice.most(wide)));
    };
    float prices[kOwnTried];
#pragma unroll
    for (int i = 0; i < kOwnTried; ++i)
      prices[i] = 1 + kBitsPerScaleStep * static_cast<float>(abs(own_at(i) - expected));
    for (std::uint32_t band = 0; band < choice.bands; ++band) {
#pragma unroll
      for (int i = 0; i < kOwnTried; ++i) {
        const int scale = choice.scale_in(band, own_at(i), wide);
        prices[i] += choice.price(k, band, scale, scale <= kRareScales ? shared.rare : wide, calibrated);
      }
    }
    int best = 0;
    cheapest = prices[0];
#pragma unroll
    for (int i = 1; i < kOwnTried; ++i) {
      if (prices[i] < cheapest) cheapest = prices[i], best = i;
    }
    choice.job.own_scales[wide * choice.components + k] = static_cast<std::uint8_t>(own_at(best));
  }
  const double sum = warp_sum(static_cast<double>(cheapest));
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x >= kClassShapes) return;
  constexpr std::uint32_t kOwnWarps = kOwnComponents / 32;
  double all = 0;
  for (std::uint32_t w = 0; w < kOwnWarps; ++w) all += sums[threadIdx.x * kOwnWarps + w];
  choice.job.own_costs[blockIdx.x * kClassShapes + threadIdx.x] = all;
}

// Whether scales are written, and the shape that suits them: a warp for each shape sums what blocks found.
__device__ void decide_on_scales(const CalibratedEncodeJob& job, Shared& shared) {
  const std::uint32_t wide = threadIdx.x / 32, lane = threadIdx.x % 32;
  double sum = 0;
#pragma unroll 4
  for (std::uint32_t block = lane; block < gridDim.x && wide < kClassShapes; block += 32)
    sum += __ldcg(job.own_costs + block * kClassShapes + wide);
  sum = warp_sum(sum);
  if (lane == 0) shared.sums[wide] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    double least = shared.least;
    for (std::uint32_t shape = 0; shape < kClassShapes; ++shape) {
      if (!(shared.sums[shape] < least)) continue;
      least = shared.sums[shape];
      shared.wide = shape, shared.writes_scales = true;
    }
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
    return shared.writes_scales ? __ldcg(choice.job.own_scales + shared.wide * choice.components + k)
                                : calibrated(k);
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
  std::uint32_t bits[kMostLow + 1] = {};
  for (std::uint32_t k = threadIdx.x; k < choice.components; k += kThreads) {
    const std::uint32_t value = scales.written(k);
#pragma unroll
    for (std::uint32_t low = 0; low <= kMostLow; ++low) {
      const std::uint32_t ones = value >> low;
      bits[low] += ones + 1 + low + (ones > kMostOnes ? kImpossible : 0);
    }
  }
#pragma unroll
  for (std::uint32_t low = 0; low <= kMostLow; ++low) {
    const std::uint32_t sum = warp_sum(bits[low]);
    if (threadIdx.x % 32 == 0) atomicAdd(&shared.packed_bits[low], sum);
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

// The body's fields up to the map of the bands, by all threads.
__device__ void write_fields(const Choice& choice, const Shared& shared, double output_snr_db) {
  const CalibratedEncodeJob& job = choice.job;
  const CalibratedStep& step = *job.predict.step;
  std::uint8_t* to = job.body->first;
  const std::uint32_t i = threadIdx.x, params = step.params_bytes;
  const int snr = __double2int_rn(100 * output_snr_db);
  if (i < params) {
    const int parts = (shared.writes_scales ? 16 : 0) | (choice.bands == 1     ? 0
                                                         : is_transformed(job) ? 64
                                                                               : 32);
    const int shapes = static_cast<int>(shared.rare | shared.wide << 2) | parts;
    const int decided[] = {choice.step, choice.step >> 8, snr, snr >> 8, shapes, shared.offset};
    to[i] = i >= 3 && i < 9 ? static_cast<std::uint8_t>(decided[i - 3] & 255) : step.params[i];
  }
  if (i != 0) return;
  to += params;
  if (is_transformed(job)) {
    put_16(to, static_cast<int>(job.tiles.columns));
    put_16(to + 2, static_cast<int>(job.tiles.lines));
    to += 4;
  } else if (choice.bands > 1) {
    *to++ = static_cast<std::uint8_t>(choice.bands);
    *to++ = static_cast<std::uint8_t>(job.band_growth);
  }
  for (std::uint32_t band = 1; band < choice.bands; ++band)
    *to++ = static_cast<std::uint8_t>(choice.band_scale(band));
  if (choice.bands > 1 && !is_transformed(job)) {
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

// A block for some components; the last one makes the frame's classes.
__global__ void __launch_bounds__(kThreads) choose_classes(CalibratedEncodeJob job) {
  wait_for_earlier_work();
  __shared__ Shared shared;
  const Choice choice(job);
  choose_offset_and_shapes(job, shared);
  choose_own_scales(choice, shared, shared.sums);
  if (!is_last_block(job.done->chosen)) return;
  decide_on_scales(job, shared);
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
  const CalibratedStep& step = *job.predict.step;
  const double output_snr_db = snr_db(step.signal, error + weight_sum(job) * step.floor);
  write_fields(choice, shared, output_snr_db);
  const float* const steps = job.tables.steps + choice.step - kLeastStep;
  if (threadIdx.x < kIndexBands)
    job.band_steps[threadIdx.x] = steps[static_cast<int>(threadIdx.x) * job.band_growth];
  if (threadIdx.x != 0) return;
  IndexGrid grid;
  grid.bands = choice.bands;
  grid.band_ends[0] = job.predict.rows;
  for (std::uint32_t band = 0; job.order != nullptr && band < choice.bands; ++band)
    grid.band_ends[band] = job.order->ends[band];
  grid.active = active;
  cut_grid(grid, job.predict.rows, static_cast<float>(bits / 8), {kBytesPerChunk});
  *job.grid = grid;
  job.body->scale_bytes = scale_bytes;
  job.outcome->coded_bits = bits;
  job.outcome->output_snr_db = output_snr_db;
  job.outcome->step = *steps;
}

}  // namespace

void launch_class_choice(const CalibratedEncodeJob& job, cudaStream_t stream) {
  if (job.order != nullptr) start_behind(choose_band_scales, kIndexBands - 1, kBandThreads, 0, stream, job);
  start_behind(price_offsets, kScaleOffsets, kThreads, 0, stream, job);
  const std::uint32_t blocks = (job.predict.calibration.components - 1) / kOwnComponents + 1;
  start_behind(choose_classes, blocks, kThreads, 0, stream, job);
}

}  // namespace pinion::codec::cuda
