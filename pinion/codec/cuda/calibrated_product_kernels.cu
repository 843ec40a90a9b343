// The products of mode 6: prediction, projection and reconstruction, with what stands around them.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/tile_product.cuh"

namespace pinion::codec::cuda {
namespace {

// 4608 rows by 512 components make 128 tiles of 128 by 144: one for nearly each processor of an H100.
template <std::uint32_t kXParts, std::uint32_t kYParts>
using RowForm = ProductForm<128, 144, 4, 3, kXParts, kYParts, true, 4>;
// For tensors of 16 bits, whose rounding hides that of one product.
using RoughForm = ProductForm<128, 256, 2, 4, 1, 1, false, 4>;
// Where blocks have less shared memory.
template <std::uint32_t kXParts, std::uint32_t kYParts>
using SmallForm = ProductForm<128, 96, 4, 2, kXParts, kYParts, true, 2>;

// y[k][row] = sums times the scale of the row.
struct PredictResult {
  float* to;
  const float* row_scales;
  std::uint32_t components, pitch;

  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4 sums) const {
    if (k >= components || row >= pitch) return;
    const float4 scales = *reinterpret_cast<const float4*>(row_scales + row);
    *reinterpret_cast<float4*>(to + std::size_t{k} * pitch + row) =
        make_float4(sums.x * scales.x, sums.y * scales.y, sums.z * scales.z, sums.w * scales.w);
  }
};

struct ResidualResult {
  float* to;
  const float* prediction;
  RecordPair records;
  const float* projected_means;  // null: the tensor was centred
  std::uint32_t components, pitch;

  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4 sums) const {
    if (k >= components || row >= pitch) return;
    const std::size_t at = std::size_t{k} * pitch + row;
    const float4 p = *reinterpret_cast<const float4*>(prediction + at);
    const float mean = projected_means == nullptr ? 0 : blended_at(projected_means, components, records, k);
    *reinterpret_cast<float4*>(to + at) =
        make_float4(sums.x - mean - p.x, sums.y - mean - p.y, sums.z - mean - p.z, sums.w - mean - p.w);
  }
};

__device__ float bounded(float value, float limit) {
  return value > limit ? limit : value < -limit ? -limit : value == value ? value : 0.0f;
}

// tensor[row][channel] = mean + sums, rounded to its type.
struct RebuildResult {
  std::byte* to;
  RecordPair records;
  const float* means;
  const float* row_scales;
  std::uint32_t rows, channels;
  std::uint8_t dtype;

  __device__ void operator()(std::uint32_t row, std::uint32_t channel, float4 sums) const {
    if (row >= rows || channel >= channels) return;
    const float scale = __ldg(row_scales + row);
    const float four[4] = {sums.x, sums.y, sums.z, sums.w};
    const std::size_t at = std::size_t{row} * channels + channel;
    const std::uint32_t count = min(4u, channels - channel);
    const float limit = dtype == 2 ? 3.38953139e38f : dtype == 1 ? 65504.0f : 3.40282347e38f;
    float values[4];
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
      const float mean = i < count ? blended_at(means, channels, records, channel + i) : 0;
      values[i] = bounded(four[i] * scale + mean, limit);
    }
    if (dtype == 0) {
      auto* const out = reinterpret_cast<float*>(to) + at;
      if (channels % 4 == 0) {
        *reinterpret_cast<float4*>(out) = make_float4(values[0], values[1], values[2], values[3]);
        return;
      }
      for (std::uint32_t i = 0; i < count; ++i) out[i] = values[i];
      return;
    }
    std::uint16_t bits[4];
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i)
      bits[i] = dtype == 2 ? __bfloat16_as_ushort(__float2bfloat16_rn(values[i]))
                           : __half_as_ushort(__float2half_rn(values[i]));
    auto* const out = reinterpret_cast<std::uint16_t*>(to) + at;
    if (channels % 4 == 0) {
      *reinterpret_cast<uint2*>(out) =
          make_uint2(bits[0] | std::uint32_t{bits[1]} << 16, bits[2] | std::uint32_t{bits[3]} << 16);
      return;
    }
    for (std::uint32_t i = 0; i < count; ++i) out[i] = bits[i];
  }
};

extern __shared__ uint4 product_memory[];

template <class Number, class Form, class Result>
__device__ void multiply_into(const Product<Number>& product, const Result& result) {
  TileProduct<Number, Form> tiles(product, reinterpret_cast<std::byte*>(product_memory));
  tiles.run(result);
}

template <class Form>
__global__ void __launch_bounds__(Form::kThreads, 1) predict(PredictJob job) {
  const FeatureRows& rows = job.rows_side;
  const Product<__half> product{{{job.matrix[0], job.matrix[1]}, job.calibration.components, rows.pitch},
                                {{rows.parts[0], rows.parts[1]}, job.rows, rows.pitch},
                                rows.pitch};
  multiply_into<__half, Form>(
      product, PredictResult{job.prediction, rows.row_scales, job.calibration.components, job.pitch});
}

template <class Form>
__global__ void __launch_bounds__(Form::kThreads, 1) project(CalibratedEncodeJob job) {
  const CalibrationArrays& calibration = job.predict.calibration;
  const CalibratedStep& step = *job.predict.step;
  constexpr bool kDirect = Form::kYParts == 1;
  Product<__nv_bfloat16> product{
      {{calibration.projection[0], calibration.projection[1]},
       calibration.components,
       calibration.padded_channels},
      {{job.centred[0], job.centred[1]}, job.predict.rows, calibration.padded_channels},
      calibration.padded_channels};
  if (kDirect) {
    product.y = {{reinterpret_cast<const __nv_bfloat16*>(step.tensor), nullptr},
                 job.predict.rows,
                 calibration.channels};
    product.depth = calibration.channels;
  }
  multiply_into<__nv_bfloat16, Form>(
      product, ResidualResult{job.residual, job.predict.prediction, step.records,
                              kDirect ? calibration.projected_means : nullptr, calibration.components,
                              job.predict.pitch});
}

template <class Form>
__global__ void __launch_bounds__(Form::kThreads, 1) rebuild(RebuildJob job) {
  const CalibrationArrays& calibration = job.calibration;
  const CalibratedStep& step = *job.step;
  const Product<__half> product{
      {{job.rows_side.parts[0], job.rows_side.parts[1]}, job.rows, job.rows_side.pitch},
      {{calibration.reconstruction[0], calibration.reconstruction[1]},
       calibration.channels,
       calibration.padded_known},
      calibration.padded_known};
  multiply_into<__half, Form>(
      product, RebuildResult{step.out, step.records, calibration.means, job.rows_side.row_scales, job.rows,
                             calibration.channels, job.dtype});
}

// The predictor of a position in two parts, each column divided by its largest entry's power of two.
__global__ void blend(PredictJob job) {
  const CalibrationArrays& calibration = job.calibration;
  const RecordPair records = job.step->records;
  const std::size_t features = job.rows_side.features;
  const float* const matrices = job.with_history ? calibration.history : calibration.alone;
  const float* const sizes = job.with_history ? calibration.history_sizes : calibration.alone_sizes;
  const std::uint32_t k = blockIdx.x;
  for (std::uint32_t f = threadIdx.x; f < job.rows_side.pitch; f += blockDim.x) {
    float value = 0;
    if (f < features) {
      const float size =
          fmaxf(__ldg(sizes + records.first * features + f), __ldg(sizes + records.second * features + f));
      const int exponent = size == 0 ? 0 : exponent_of(size);
      value = blended_at(matrices, features * calibration.components, records, k * features + f) *
              power_of_two(-exponent);
      if (k == 0) job.scales[f] = power_of_two(exponent);
    }
    const __half upper = __float2half_rn(value);
    const std::size_t at = std::size_t{k} * job.rows_side.pitch + f;
    job.matrix[0][at] = upper;
    job.matrix[1][at] = __float2half_rn(value - __half2float(upper));
  }
}

constexpr std::uint32_t kFeatureRows = 32, kFeatureThreads = 256, kFeatureColumns = 64;

struct FeatureSource {
  const CalibrationArrays& calibration;
  RecordPair records;
  const float *latents, *previous_latents;
  float per_sigma;
  FeatureSources sources;
  const float* y;
  std::uint32_t rows, pitch;

  __device__ float at(std::uint32_t feature, std::uint32_t row) const {
    if (feature < sources.components) return __ldg(y + std::size_t{feature} * pitch + row);
    std::uint32_t l = feature - sources.components;
    const std::uint32_t width = calibration.latents;
    const std::size_t i = std::size_t{row} * width;
    if (l < width) return __ldg(latents + i + l) - blended_at(calibration.latent_means, width, records, l);
    l -= width;
    return (__ldg(latents + i + l) - __ldg(previous_latents + i + l)) * per_sigma -
           blended_at(calibration.change_means, width, records, l);
  }
};

// A block for 32 rows: how large they are, then their parts.
__global__ void __launch_bounds__(kFeatureThreads)
    make_features(CalibrationArrays calibration, const CalibratedStep* at, FeatureSources sources,
                  const float* scales, std::uint32_t rows, std::uint32_t pitch, FeatureRows to,
                  std::uint32_t* not_finite) {
  __shared__ float largest[kFeatureThreads / 32][kFeatureRows];
  __shared__ float tile[kFeatureColumns][kFeatureRows + 1];
  const FeatureSource source{calibration,
                             at->records,
                             at->latents,
                             at->previous_latents,
                             at->per_sigma,
                             sources,
                             sources.of_next_y ? at->next_y : at->last_y,
                             rows,
                             pitch};
  const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::uint32_t row = min(blockIdx.x * kFeatureRows + lane, rows - 1);
  float size = 0;
  bool fine = true;
#pragma unroll 4
  for (std::uint32_t f = warp; f < to.features; f += kFeatureThreads / 32) {
    const float value = source.at(f, row) * __ldg(scales + f);
    size = fmaxf(size, fabsf(value));
    fine = fine && is_finite(value);
  }
  if (!fine && not_finite != nullptr) *not_finite = 1;
  largest[warp][lane] = size;
  __syncthreads();
  for (std::uint32_t w = 0; w < kFeatureThreads / 32; ++w) size = fmaxf(size, largest[w][lane]);
  // Parts of binary16 reach from 2^15 down to 2^-24.
  const int exponent = size == 0 ? 0 : exponent_of(size) - 14;
  const float scale = power_of_two(-exponent);
  if (warp == 0 && blockIdx.x * kFeatureRows + lane < rows) to.row_scales[row] = power_of_two(exponent);
  for (std::uint32_t first = 0; first < to.pitch; first += kFeatureColumns) {
    __syncthreads();
    for (std::uint32_t i = warp; i < kFeatureColumns; i += kFeatureThreads / 32) {
      const std::uint32_t f = first + i;
      tile[i][lane] = f < to.features ? source.at(f, row) * __ldg(scales + f) * scale : 0.0f;
    }
    __syncthreads();
    for (std::uint32_t r = warp; r < kFeatureRows; r += kFeatureThreads / 32) {
      const std::uint32_t own = blockIdx.x * kFeatureRows + r;
      if (own >= rows) break;
      for (std::uint32_t i = 2 * lane; i < kFeatureColumns && first + i < to.pitch; i += 64) {
        const __half2 upper = __floats2half2_rn(tile[i][r], tile[i + 1][r]);
        const std::size_t place = std::size_t{own} * to.pitch + first + i;
        *reinterpret_cast<__half2*>(to.parts[0] + place) = upper;
        if (to.part_count < 2) continue;
        const float2 there = __half22float2(upper);
        *reinterpret_cast<__half2*>(to.parts[1] + place) =
            __floats2half2_rn(tile[i][r] - there.x, tile[i + 1][r] - there.y);
      }
    }
  }
}

// The tensor without its means in two parts.
__global__ void centre(CalibratedEncodeJob job) {
  const CalibrationArrays& calibration = job.predict.calibration;
  const CalibratedStep& step = *job.predict.step;
  const std::uint32_t row = blockIdx.x, c = blockIdx.y * blockDim.x + threadIdx.x;
  if (c >= calibration.padded_channels) return;
  float value = 0;
  if (c < calibration.channels)
    value = element_as_float(step.tensor, job.dtype, std::size_t{row} * calibration.channels + c) -
            blended_at(calibration.means, calibration.channels, step.records, c);
  const __nv_bfloat16 upper = __float2bfloat16_rn(value);
  const std::size_t at = std::size_t{row} * calibration.padded_channels + c;
  job.centred[0][at] = upper;
  job.centred[1][at] = __float2bfloat16_rn(value - __bfloat162float(upper));
}

std::uint32_t divided_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

template <class Form>
bool fits(const ProductDevice& device) {
  return Form::kSharedBytes <= device.shared_bytes;
}

template <class Form>
std::uint32_t blocks_of(const ProductDevice& device, std::uint32_t m, std::uint32_t n) {
  const std::uint32_t tiles = divided_up(m, Form::kM) * divided_up(n, Form::kN);
  const auto processors = static_cast<std::uint32_t>(device.processors);
  return tiles < processors ? tiles : processors;
}

template <class Kernel>
cudaError_t allow(Kernel kernel, std::size_t bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
}

template <template <std::uint32_t, std::uint32_t> class Form>
cudaError_t allow_forms() {
  cudaError_t failed = allow(predict<Form<2, 2>>, Form<2, 2>::kSharedBytes);
  if (failed == cudaSuccess) failed = allow(project<Form<2, 1>>, Form<2, 1>::kSharedBytes);
  if (failed == cudaSuccess) failed = allow(project<Form<2, 2>>, Form<2, 2>::kSharedBytes);
  if (failed == cudaSuccess) failed = allow(rebuild<Form<2, 2>>, Form<2, 2>::kSharedBytes);
  return failed == cudaSuccess ? allow(rebuild<Form<1, 1>>, Form<1, 1>::kSharedBytes) : failed;
}

}  // namespace

cudaError_t allow_products(const ProductDevice& device) {
  if (!fits<RowForm<2, 2>>(device)) return allow_forms<SmallForm>();
  const cudaError_t failed = allow_forms<RowForm>();
  return failed == cudaSuccess ? allow(rebuild<RoughForm>, RoughForm::kSharedBytes) : failed;
}

void launch_features(const CalibrationArrays& calibration, const CalibratedStep* step,
                     const FeatureSources& sources, const float* scales, std::uint32_t rows,
                     std::uint32_t pitch, const FeatureRows& to, std::uint32_t* not_finite,
                     cudaStream_t stream) {
  make_features<<<divided_up(rows, kFeatureRows), kFeatureThreads, 0, stream>>>(
      calibration, step, sources, scales, rows, pitch, to, not_finite);
}

void launch_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream) {
  const std::uint32_t components = job.calibration.components;
  if (job.rows_side.features == 0) {
    cudaMemsetAsync(job.prediction, 0, sizeof(float) * job.pitch * components, stream);
    return;
  }
  blend<<<components, 256, 0, stream>>>(job);
  launch_features(job.calibration, job.step, job.sources, job.scales, job.rows, job.pitch, job.rows_side,
                  job.not_finite, stream);
  const auto start = [&]<class Form>(Form) {
    predict<Form>
        <<<blocks_of<Form>(device, components, job.rows), Form::kThreads, Form::kSharedBytes, stream>>>(job);
  };
  if (fits<RowForm<2, 2>>(device)) return start(RowForm<2, 2>{});
  start(SmallForm<2, 2>{});
}

void launch_projection(const CalibratedEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  const CalibrationArrays& calibration = job.predict.calibration;
  if (!job.is_direct)
    centre<<<dim3(job.predict.rows, divided_up(calibration.padded_channels, 256)), 256, 0, stream>>>(job);
  const auto start = [&]<class Form>(Form) {
    project<Form><<<blocks_of<Form>(device, calibration.components, job.predict.rows), Form::kThreads,
                    Form::kSharedBytes, stream>>>(job);
  };
  const bool large = fits<RowForm<2, 2>>(device);
  if (job.is_direct) return large ? start(RowForm<2, 1>{}) : start(SmallForm<2, 1>{});
  large ? start(RowForm<2, 2>{}) : start(SmallForm<2, 2>{});
}

void launch_rebuilding(const RebuildJob& job, const ProductDevice& device, cudaStream_t stream) {
  launch_features(job.calibration, job.step, {.components = job.calibration.components, .of_next_y = true},
                  job.calibration.known_scales, job.rows, job.pitch, job.rows_side, nullptr, stream);
  const auto start = [&]<class Form>(Form) {
    rebuild<Form><<<blocks_of<Form>(device, job.rows, job.calibration.channels), Form::kThreads,
                    Form::kSharedBytes, stream>>>(job);
  };
  const bool large = fits<RowForm<2, 2>>(device), rough = job.rows_side.part_count == 1;
  if (large) return rough ? start(RoughForm{}) : start(RowForm<2, 2>{});
  rough ? start(SmallForm<1, 1>{}) : start(SmallForm<2, 2>{});
}

}  // namespace pinion::codec::cuda
