// Mode 2 (docs/format.md §6.4, §6.5): residuals to the state, exactly, and the state to the tensor, by a
// product with the basis on tensor cores.

#include <type_traits>

#include "pinion/codec/cuda/device_floats.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/fidelity_jobs.h"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/tile_product.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::int64_t kMostState = (1 << 30) - 1;
constexpr std::uint32_t kPredictionShift = 22;
constexpr std::uint32_t kMostRows = 32768;  // of a grid
constexpr std::uint32_t kTile = 32;         // of components and rows that are turned at once
constexpr std::uint32_t kLeastDepth = 8;    // fewer components are summed one by one: see docs/cuda.md
constexpr std::uint32_t kHalfBits = 15;     // a state of that many bits is a number of __half

__global__ void __launch_bounds__(kThreads)
    receive(const std::byte* on_host, std::byte* to, std::size_t bytes, std::uint32_t* cleared) {
  wait_for_earlier_work();
  const std::size_t first = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  for (std::size_t i = first; i < bytes / sizeof(uint4); i += std::size_t{gridDim.x} * kThreads)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(on_host)[i];
  if (first < 2) cleared[first] = 0;
}

__device__ std::uint32_t block_max(std::uint32_t value) {
  __shared__ std::uint32_t most;
  if (threadIdx.x == 0) most = 0;
  __syncthreads();
  for (int step = 16; step > 0; step /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, step));
  if (threadIdx.x % kWarp == 0) atomicMax(&most, value);
  __syncthreads();
  return most;
}

// The state of a component at a place in coded order; returns its size.
__device__ std::uint32_t advance_one(const FidelityAdvance& job, const IndexGrid& grid,
                                     std::uint32_t component, std::uint32_t place) {
  std::uint32_t band = 0;
  while (band + 1 < grid.bands && place >= grid.band_ends[band]) ++band;
  const std::size_t of = std::size_t{component} * grid.bands + band, own = std::size_t{component} * job.rows;
  const std::int64_t residual = job.classes[of] == kNoIndexClass ? 0 : job.residuals[own + place];
  const std::size_t at = own + (job.row_at == nullptr ? place : job.row_at[place]);
  std::int64_t value = 0;
  if (job.references > 0) {
    value = std::int64_t{1} << (kPredictionShift - 1);
    for (std::uint32_t i = 0; i < job.references; ++i) {
      if (component < job.before[i].components)
        value += std::int64_t{job.factors[kReferences * component + i]} * job.before[i].values[at];
    }
    value >>= kPredictionShift;
  }
  const std::uint32_t offsets = job.offsets[of];
  const bool is_one = residual == 1 || residual == -1;
  const std::int64_t offset = residual == 0 ? 0 : is_one ? offsets & 15 : offsets >> 4;
  value += 16 * residual - (residual > 0 ? offset : -offset);
  const std::int64_t size = value < 0 ? -value : value;
  if (size > kMostState) job.outcome->broken = 1;
  job.state[at] = static_cast<std::int32_t>(value);
  return static_cast<std::uint32_t>(size < kMostState ? size : kMostState);
}

// A block has a part of a component's places.
__global__ void __launch_bounds__(kThreads) advance(FidelityAdvance job) {
  const std::uint32_t place = blockIdx.x * kThreads + threadIdx.x;
  std::uint32_t size = 0;
  for (std::uint32_t component = blockIdx.y; component < job.components && place < job.rows;
       component += gridDim.y)
    size = max(size, advance_one(job, *job.grid, component, place));
  size = block_max(size);
  if (threadIdx.x == 0 && size > *job.largest) atomicMax(job.largest, size);
}

__global__ void __launch_bounds__(kThreads) advance_means(FidelityAdvance job) {
  const std::uint32_t channel = blockIdx.x * kThreads + threadIdx.x;
  if (channel >= job.channels) return;
  std::int64_t value = job.mean_residuals == nullptr ? 0 : 16 * std::int64_t{job.mean_residuals[channel]};
  if (job.references > 0) {
    const std::int64_t half = std::int64_t{1} << (job.mean_shift - 1);
    value += (job.mean_factor * job.means_before[channel] + half) >> job.mean_shift;
  }
  if (value > kMostState || value < -kMostState) job.outcome->broken = 1;
  job.means[channel] = static_cast<std::int32_t>(value);
}

// By which power of two a state is divided so that two parts hold it: none where it is small.
__device__ std::uint32_t shift_of_state(std::uint32_t largest) {
  const std::uint32_t bits =
      largest == 0 ? 0 : 32 - static_cast<std::uint32_t>(__clz(static_cast<int>(largest)));
  return bits > kHalfBits ? bits - kHalfBits : 0;
}

// The state turned, rows of components, in two parts. Components up to the pitch are 0.
__global__ void __launch_bounds__(kThreads) turn_state(FidelityRebuild job) {
  wait_for_earlier_work();
  __shared__ float tile[kTile][kTile + 1];
  const std::uint32_t lane = threadIdx.x % kTile, first = threadIdx.x / kTile;
  const std::uint32_t rows = blockIdx.x * kTile, components = blockIdx.y * kTile;
  const std::uint32_t largest = *job.largest;
  const float scale = ldexpf(1.0f, -static_cast<int>(shift_of_state(largest)));
  for (std::uint32_t i = first; i < kTile; i += kThreads / kTile) {
    const std::uint32_t component = components + i, row = rows + lane;
    const bool inside = component < job.components && row < job.rows;
    tile[i][lane] =
        inside ? static_cast<float>(job.state[std::size_t{component} * job.rows + row]) * scale : 0.0f;
  }
  __syncthreads();
  for (std::uint32_t i = first; i < kTile; i += kThreads / kTile) {
    const std::uint32_t row = rows + i, component = components + lane;
    if (row >= job.rows || component >= job.pitch) continue;
    const float value = tile[lane][i];
    const __half high = __float2half_rn(value);
    const float rest = value - __half2float(high);
    const std::size_t at = std::size_t{row} * (2 * job.pitch) + component;
    job.turned[at] = high;
    job.turned[at + job.pitch] = __float2half_rn(rest);
    if (rest != 0 && component >= *job.with_rest) atomicMax(job.with_rest, component + 1);
  }
}

template <class Type>
__device__ typename Type::Word bounded(float value) {
  if (!(value == value)) return 0;
  return Type::narrow(fminf(fmaxf(value, -Type::kLimit), Type::kLimit));
}

// Takes what a product gives.
template <class Type>
struct Rebuilt {
  const FidelityRebuild& job;
  float unit;  // of what the product's numbers are multiples of

  struct Scaling {
    float factors[4], means[4];
  };

  // Of four channels from that one on.
  __device__ Scaling column(std::uint32_t channel) const {
    Scaling scaling;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t c = min(channel + i, job.channels - 1);
      scaling.factors[i] = __ldg(job.basis.scales + c) * unit;
      scaling.means[i] = static_cast<float>(__ldg(job.means + c)) * job.mean_unit;
    }
    return scaling;
  }

  __device__ void operator()(std::uint32_t row, std::uint32_t channel, const Scaling& scaling,
                             float4 sums) const {
    if (row >= job.rows) return;
    const float four[4] = {sums.x, sums.y, sums.z, sums.w};
    auto* const to =
        reinterpret_cast<typename Type::Word*>(job.out) + std::size_t{row} * job.channels + channel;
    alignas(16) typename Type::Word words[4];
    const bool whole = channel + 4 <= job.channels && job.channels % 4 == 0;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
      words[i] = bounded<Type>(four[i] * scaling.factors[i] + scaling.means[i]);
    }
    if (whole) {
      using Wide = std::conditional_t<sizeof(words) == 16, uint4, uint2>;
      *reinterpret_cast<Wide*>(to) = *reinterpret_cast<const Wide*>(words);
      return;
    }
    for (std::uint32_t i = 0; i < 4 && channel + i < job.channels; ++i) to[i] = words[i];
  }
};

template <std::uint32_t kParts>
using Form = ProductForm<128, 128, 2, 4, 1, kParts, false, 4>;
constexpr std::uint32_t kProductThreads = Form<1>::kThreads;
constexpr std::uint32_t kProductBlocks = 2;  // of a multiprocessor

// The second part of the state counts as further components, as far as it has any: those with large states
// come first in a basis, so that it is short.
template <class Type, std::uint32_t kParts>
__global__ void __launch_bounds__(kProductThreads, kProductBlocks) rebuild(FidelityRebuild job) {
  wait_for_earlier_work();
  extern __shared__ __align__(16) std::byte shared_bytes[];
  constexpr std::uint32_t kStep = 8;  // of a product's depth
  Product<__half> product;
  product.x = {{job.turned, nullptr}, job.rows, 2 * job.pitch};
  product.y = {{job.basis.parts[0], job.basis.parts[1]}, job.channels, 2 * job.basis.pitch};
  product.depth = job.pitch + (*job.with_rest + kStep - 1) / kStep * kStep;
  const float unit = ldexpf(job.unit, static_cast<int>(shift_of_state(*job.largest)));
  TileProduct<__half, Form<kParts>>(product, shared_bytes).run(Rebuilt<Type>{job, unit});
  finish(*job.outcome, job.outcome_on_host);
}

// One by one: without a basis, where parts do not hold it, and for so few components that the error of parts
// would show.
template <class Type>
__global__ void __launch_bounds__(kThreads) rebuild_plainly(FidelityRebuild job) {
  wait_for_earlier_work();
  const std::uint32_t channel = blockIdx.x * kThreads + threadIdx.x, row = blockIdx.y;
  for (std::uint32_t r = row; channel < job.channels && r < job.rows; r += gridDim.y) {
    float sum = 0;
    if (!job.has_basis) {
      if (channel < job.components)
        sum = static_cast<float>(job.state[std::size_t{channel} * job.rows + r]) * job.unit;
    } else {
      for (std::uint32_t k = 0; k < job.components; ++k)
        sum += static_cast<float>(job.state[std::size_t{k} * job.rows + r]) * job.unit *
               job.basis.plain[std::size_t{k} * job.channels + channel];
    }
    const float mean = static_cast<float>(job.means[channel]) * job.mean_unit;
    reinterpret_cast<typename Type::Word*>(job.out)[std::size_t{r} * job.channels + channel] =
        bounded<Type>(sum + mean);
  }
  finish(*job.outcome, job.outcome_on_host);
}

// For the stages of a product.
bool has_room(const DeviceRoom& room) { return room.most_shared_bytes >= Form<2>::kSharedBytes; }

template <class Type>
void rebuild_as(const FidelityRebuild& job, const DeviceRoom& room, cudaStream_t stream) {
  const bool on_tensor_cores =
      has_room(room) && job.has_basis && job.basis.fits && job.components >= kLeastDepth;
  if (!on_tensor_cores) {
    const dim3 grid((job.channels - 1) / kThreads + 1, job.rows < kMostRows ? job.rows : kMostRows);
    return start_behind(rebuild_plainly<Type>, grid, kThreads, 0, stream, job);
  }
  const dim3 turns((job.rows - 1) / kTile + 1, (job.pitch - 1) / kTile + 1);
  start_behind(turn_state, turns, kThreads, 0, stream, job);
  const bool one_part = job.basis.parts[1] == nullptr;
  start_behind(one_part ? rebuild<Type, 1> : rebuild<Type, 2>, kProductBlocks * room.multiprocessors,
               kProductThreads, one_part ? Form<1>::kSharedBytes : Form<2>::kSharedBytes, stream, job);
}

template <class Type>
cudaError_t allow() {
  constexpr auto kWhat = cudaFuncAttributeMaxDynamicSharedMemorySize;
  const cudaError_t failed = cudaFuncSetAttribute(rebuild<Type, 1>, kWhat, Form<1>::kSharedBytes);
  return failed != cudaSuccess ? failed
                               : cudaFuncSetAttribute(rebuild<Type, 2>, kWhat, Form<2>::kSharedBytes);
}

}  // namespace

void launch_receiving(const std::byte* on_host, std::byte* to, std::size_t bytes, std::uint32_t* cleared,
                      cudaStream_t stream) {
  constexpr std::uint32_t kBlocks = 32;
  start_behind(receive, kBlocks, kThreads, 0, stream, on_host, to, bytes, cleared);
}

void launch_fidelity_advance(const FidelityAdvance& job, cudaStream_t stream) {
  advance_means<<<(job.channels - 1) / kThreads + 1, kThreads, 0, stream>>>(job);
  if (job.components > 0) launch_component_advance(job, stream);
}

void launch_component_advance(const FidelityAdvance& job, cudaStream_t stream) {
  const dim3 grid((job.rows - 1) / kThreads + 1, job.components < kMostRows ? job.components : kMostRows);
  advance<<<grid, kThreads, 0, stream>>>(job);
}

void launch_fidelity_rebuilding(const FidelityRebuild& job, const DeviceRoom& room, cudaStream_t stream) {
  switch (static_cast<DType>(job.dtype)) {
    case DType::kF32:
      return rebuild_as<F32>(job, room, stream);
    case DType::kF16:
      return rebuild_as<F16>(job, room, stream);
    default:
      return rebuild_as<BF16>(job, room, stream);
  }
}

cudaError_t allow_product_memory(const DeviceRoom& room) {
  if (!has_room(room)) return cudaSuccess;
  for (const cudaError_t failed : {allow<F32>(), allow<F16>(), allow<BF16>()}) {
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

}  // namespace pinion::codec::cuda
