// From a tensor to components (the encoder's side of docs/format.md §6): means, the product with the analysis
// of the basis on tensor cores, and how much of the rows lies outside of the basis.

#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/fidelity_encode_kernels.h"
#include "pinion/codec/cuda/tile_product.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256, kMeanThreads = 128;
constexpr std::uint32_t kTile = 32;  // of rows and channels that are turned at once

// Four neighbours or one.
template <std::uint32_t kTogether>
__device__ void load_elements(const std::byte* tensor, std::uint8_t dtype, std::size_t at,
                              float (&to)[kTogether]) {
  if constexpr (kTogether == 1) {
    to[0] = element_as_float(tensor, dtype, at);
  } else if (dtype == 0) {
    const float4 four = __ldg(reinterpret_cast<const float4*>(tensor) + at / 4);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
    const uint2 four = __ldg(reinterpret_cast<const uint2*>(tensor) + at / 4);
    const auto pair = [&](std::uint32_t both) {
      return dtype == 2 ? both_as_float(both, __nv_bfloat16{}) : both_as_float(both, __half{});
    };
    const float2 left = pair(four.x), right = pair(four.y);
    to[0] = left.x, to[1] = left.y, to[2] = right.x, to[3] = right.y;
  }
}

// The square of an element's last place: what rounding to its type takes, times 12.
__device__ float squared_place(float value, int mantissa_bits) {
  const float place = power_of_two(exponent_of(value) - mantissa_bits);
  return place * place;
}

// Channels over a part of the rows, about the first row: sums, squares, last places.
template <std::uint32_t kTogether>
__global__ void __launch_bounds__(kThreads) sum_channels(FidelityEncodeJob job) {
  __shared__ double scratch[kThreads / 32];
  const std::byte* const tensor = job.step->tensor;
  const std::uint32_t channel = (blockIdx.x * kThreads + threadIdx.x) * kTogether;
  const auto begin = static_cast<std::uint32_t>(std::uint64_t{job.rows} * blockIdx.y / kRowParts),
             end = static_cast<std::uint32_t>(std::uint64_t{job.rows} * (blockIdx.y + 1) / kRowParts);
  const int mantissa_bits = job.dtype == 2 ? 7 : job.dtype == 1 ? 10 : 23;
  float sums[kTogether] = {}, squares[kTogether] = {}, places = 0;
  bool fine = true;
  if (channel < job.channels) {
    float first[kTogether];
    load_elements<kTogether>(tensor, job.dtype, channel, first);
#pragma unroll 4
    for (std::uint32_t row = begin; row < end; ++row) {
      float values[kTogether];
      load_elements<kTogether>(tensor, job.dtype, std::size_t{row} * job.channels + channel, values);
#pragma unroll
      for (std::uint32_t i = 0; i < kTogether; ++i) {
        fine = fine && is_finite(values[i]);
        const float distance = values[i] - first[i];
        sums[i] += distance;
        squares[i] += distance * distance;
        places += squared_place(values[i], mantissa_bits);
      }
    }
#pragma unroll
    for (std::uint32_t i = 0; i < kTogether; ++i) {
      job.channel_sums[std::size_t{blockIdx.y} * job.channels + channel + i] = sums[i];
      job.channel_squares[std::size_t{blockIdx.y} * job.channels + channel + i] = squares[i];
    }
  }
  if (!fine) job.outcome->not_finite = 1;
  const double sum = block_sum(static_cast<double>(places), scratch);
  if (threadIdx.x == 0) job.rounding[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kChannelBlock) finish_means(FidelityEncodeJob job) {
  __shared__ double scratch[kChannelBlock / 32];
  const FidelityStep& step = *job.step;
  const std::uint32_t channel = blockIdx.x * kChannelBlock + threadIdx.x;
  ChannelTotals totals{};
  if (channel < job.channels) {
    double sum = 0, square = 0;
#pragma unroll 8
    for (std::uint32_t part = 0; part < kRowParts; ++part) {
      sum += job.channel_sums[std::size_t{part} * job.channels + channel];
      square += job.channel_squares[std::size_t{part} * job.channels + channel];
    }
    const double distance = sum / job.rows,
                 mean = element_as_float(step.tensor, job.dtype, channel) + distance;
    job.means[channel] = mean;
    totals.energy = fmax(0.0, square - sum * distance);
    if (job.references > 0) {
      const double before = static_cast<double>(job.means_before[channel]) * step.mean_unit_before;
      totals.cross = mean * before;
      totals.square = before * before;
    }
  }
  totals.energy = block_sum(totals.energy, scratch);
  totals.cross = block_sum(totals.cross, scratch);
  totals.square = block_sum(totals.square, scratch);
  if (threadIdx.x == 0) job.totals[blockIdx.x] = totals;
}

// What the means are as components of a tensor that is taken as it is. A block for each.
__global__ void __launch_bounds__(kMeanThreads) project_means(FidelityEncodeJob job) {
  __shared__ double scratch[kMeanThreads / 32];
  const std::size_t row = std::size_t{blockIdx.x} * job.analysis.pitch;
  double sum = 0;
#pragma unroll 4
  for (std::uint32_t c = threadIdx.x; c < job.channels; c += kMeanThreads) {
    float value = __bfloat162float(job.analysis.parts[0][row + c]);
    if (job.analysis_parts == 2) value += __bfloat162float(job.analysis.parts[1][row + c]);
    sum += job.means[c] * value;
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) job.projected_means[blockIdx.x] = static_cast<float>(sum);
}

// The tensor without its means in two parts.
__global__ void __launch_bounds__(kThreads) centre_rows(FidelityEncodeJob job) {
  const std::uint32_t c = blockIdx.y * kThreads + threadIdx.x, pitch = job.analysis.pitch;
  if (c >= pitch) return;
  const double mean = c < job.channels ? job.means[c] : 0;
  for (std::uint32_t row = blockIdx.x; row < job.rows; row += gridDim.x) {
    float value = 0;
    if (c < job.channels)
      value = static_cast<float>(
          element_as_float(job.step->tensor, job.dtype, std::size_t{row} * job.channels + c) - mean);
    const __nv_bfloat16 upper = __float2bfloat16_rn(value);
    const std::size_t at = std::size_t{row} * pitch + c;
    job.centred[0][at] = upper;
    job.centred[1][at] = __float2bfloat16_rn(value - __bfloat162float(upper));
  }
}

struct ComponentResult {
  float* to;
  __nv_bfloat16* coarse;
  std::uint32_t components, rows, pitch;

  __device__ int column(std::uint32_t) const { return 0; }
  __device__ void operator()(std::uint32_t k, std::uint32_t row, int, float4 sums) const {
    if (k >= components || row >= pitch) return;
    const std::size_t at = std::size_t{k} * pitch + row;
    *reinterpret_cast<float4*>(to + at) = sums;
    const float four[4] = {sums.x, sums.y, sums.z, sums.w};
    alignas(8) __nv_bfloat16 rough[4];
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) rough[i] = __float2bfloat16_rn(row + i < rows ? four[i] : 0.0f);
    *reinterpret_cast<uint2*>(coarse + at) = *reinterpret_cast<const uint2*>(rough);
  }
};

// 4608 rows by 512 components make 128 tiles of 128 by 144: one for nearly each processor of an H100.
template <std::uint32_t kXParts, std::uint32_t kYParts>
using LargeForm =
    ProductForm<128, 144, 4, 3, kXParts, kYParts, kXParts == 1 ? 4 : 1, 4, kXParts == 1 ? 64 : 32>;
// Where blocks have less shared memory.
template <std::uint32_t kXParts, std::uint32_t kYParts>
using LittleForm = ProductForm<128, 96, 4, 2, kXParts, kYParts, kXParts == 1 ? 8 : 1, 2>;

extern __shared__ uint4 analysis_memory[];

template <class Form>
__global__ void __launch_bounds__(Form::kThreads, 1) analyse(FidelityEncodeJob job) {
  Product<__nv_bfloat16> product{
      {{job.analysis.parts[0], job.analysis.parts[1]}, job.components, job.analysis.pitch},
      {{job.centred[0], job.centred[1]}, job.rows, job.analysis.pitch},
      job.analysis.pitch};
  if (Form::kYParts == 1)
    product.y = {{reinterpret_cast<const __nv_bfloat16*>(job.step->tensor), nullptr}, job.rows, job.channels};
  TileProduct<__nv_bfloat16, Form>(product, reinterpret_cast<std::byte*>(analysis_memory))
      .run(ComponentResult{job.values, job.coarse, job.components, job.rows, job.pitch});
}

// Without a basis: components are the channels, turned.
__global__ void __launch_bounds__(kThreads) turn_rows(FidelityEncodeJob job) {
  __shared__ float tile[kTile][kTile + 1];
  const std::uint32_t lane = threadIdx.x % kTile, first = threadIdx.x / kTile;
  const std::uint32_t channels = blockIdx.x * kTile;
  for (std::uint32_t rows = blockIdx.y * kTile; rows < job.rows; rows += gridDim.y * kTile) {
    __syncthreads();
    for (std::uint32_t i = first; i < kTile; i += kThreads / kTile) {
      const std::uint32_t row = rows + i, c = channels + lane;
      if (row < job.rows && c < job.channels)
        tile[i][lane] = element_as_float(job.step->tensor, job.dtype, std::size_t{row} * job.channels + c);
    }
    __syncthreads();
    for (std::uint32_t i = first; i < kTile; i += kThreads / kTile) {
      const std::uint32_t c = channels + i, row = rows + lane;
      if (row < job.rows && c < job.channels) job.values[std::size_t{c} * job.pitch + row] = tile[lane][i];
    }
  }
}

using InsideForm = ProductForm<64, 64, 2, 2, 1, 1, 8, 4>;

// Adds products of components by what they count.
struct SharedEnergy {
  const float* shared;
  const float* means;  // of the components
  std::uint32_t components;
  float rows;  // by which products of the means count
  double* sum;

  __device__ int column(std::uint32_t) const { return 0; }
  __device__ void operator()(std::uint32_t k, std::uint32_t l, int, float4 sums) const {
    const float four[4] = {sums.x, sums.y, sums.z, sums.w};
    float own = 0;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
      if (k >= components || l + i >= components) continue;
      const float of_means = rows * __ldg(means + k) * __ldg(means + l + i);
      own += __ldg(shared + std::size_t{k} * components + l + i) * (four[i] - of_means);
    }
    *sum += own;
  }
};

// A block for a tile of pairs of components and a part of the rows. Pairs that have changed places count with
// those that have not.
__global__ void __launch_bounds__(InsideForm::kThreads) share_energy(FidelityEncodeJob job) {
  __shared__ double scratch[InsideForm::kThreads / 32];
  const std::uint32_t part_rows = ((job.pitch - 1) / kInsideParts / kTile + 1) * kTile,
                      begin = blockIdx.y * part_rows;
  const std::uint32_t side = (job.components - 1) / InsideForm::kM + 1, m = blockIdx.x % side,
                      n = blockIdx.x / side;
  double sum = 0;
  if (begin < job.pitch && m <= n) {
    const ProductSide<__nv_bfloat16> side{{job.coarse + begin, nullptr}, job.components, job.pitch};
    const Product<__nv_bfloat16> product{side, side, min(part_rows, job.pitch - begin)};
    const float rows = static_cast<float>(min(begin + part_rows, job.rows) - min(begin, job.rows));
    TileProduct<__nv_bfloat16, InsideForm>(product, reinterpret_cast<std::byte*>(analysis_memory))
        .run(SharedEnergy{job.analysis.shared, job.projected_means, job.components, rows, &sum});
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) job.inside[blockIdx.y * gridDim.x + blockIdx.x] = m < n ? 2 * sum : sum;
}

std::uint32_t divided_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

template <class Form>
cudaError_t allow() {
  return cudaFuncSetAttribute(analyse<Form>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(Form::kSharedBytes));
}

bool is_roomy(const ProductDevice& device) { return device.shared_bytes >= LargeForm<2, 2>::kSharedBytes; }

template <template <std::uint32_t, std::uint32_t> class Form>
cudaError_t allow_all() {
  for (const cudaError_t failed : {allow<Form<1, 1>>(), allow<Form<2, 1>>(), allow<Form<2, 2>>()}) {
    if (failed != cudaSuccess) return failed;
  }
  return cudaSuccess;
}

template <class Form>
void start_analysis(const FidelityEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  const std::uint32_t tiles = divided_up(job.components, Form::kM) * divided_up(job.rows, Form::kN);
  const std::uint32_t blocks = least(tiles, static_cast<std::uint32_t>(device.processors));
  analyse<Form><<<blocks, Form::kThreads, Form::kSharedBytes, stream>>>(job);
}

template <template <std::uint32_t, std::uint32_t> class Form>
void start_as(const FidelityEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  if (!job.is_direct) return start_analysis<Form<2, 2>>(job, device, stream);
  if (job.analysis_parts == 2) return start_analysis<Form<2, 1>>(job, device, stream);
  start_analysis<Form<1, 1>>(job, device, stream);
}

}  // namespace

cudaError_t allow_analysis(const ProductDevice& device) {
  return is_roomy(device) ? allow_all<LargeForm>() : allow_all<LittleForm>();
}

void launch_channel_sums(const FidelityEncodeJob& job, cudaStream_t stream) {
  const std::uint32_t together = job.is_aligned ? 4 : 1;
  const dim3 grid(divided_up(job.channels, kThreads * together), kRowParts);
  job.is_aligned ? sum_channels<4><<<grid, kThreads, 0, stream>>>(job)
                 : sum_channels<1><<<grid, kThreads, 0, stream>>>(job);
  finish_means<<<divided_up(job.channels, kChannelBlock), kChannelBlock, 0, stream>>>(job);
  if (job.is_direct) project_means<<<job.components, kMeanThreads, 0, stream>>>(job);
}

void launch_analysis(const FidelityEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  constexpr std::uint32_t kMostBlocks = 16384;
  if (!job.has_basis) {
    const dim3 grid(divided_up(job.channels, kTile), least(divided_up(job.rows, kTile), kMostBlocks));
    turn_rows<<<grid, kThreads, 0, stream>>>(job);
    return;
  }
  if (!job.is_direct)
    centre_rows<<<dim3(least(job.rows, kMostBlocks), divided_up(job.analysis.pitch, kThreads)), kThreads, 0,
                  stream>>>(job);
  is_roomy(device) ? start_as<LargeForm>(job, device, stream) : start_as<LittleForm>(job, device, stream);
}

void launch_inside(const FidelityEncodeJob& job, cudaStream_t stream) {
  const std::uint32_t side = divided_up(job.components, InsideForm::kM);
  share_energy<<<dim3(side * side, kInsideParts), InsideForm::kThreads, InsideForm::kSharedBytes, stream>>>(
      job);
}

}  // namespace pinion::codec::cuda
