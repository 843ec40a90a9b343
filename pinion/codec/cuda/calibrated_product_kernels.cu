// The products of mode 6: prediction, projection and reconstruction, with what stands around them.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/tile_product.cuh"

namespace pinion::codec::cuda {
namespace {

// Of prediction and reconstruction, whose errors stay or would be seen, sums go over to binary32 at every
// stage.
constexpr std::uint32_t kOften = 1, kNowAndThen = 8;
// 4608 rows by 512 components make 128 tiles of 128 by 144: one for nearly each processor of an H100.
template <std::uint32_t kXParts, std::uint32_t kYParts, std::uint32_t kFoldSteps>
using RowForm = ProductForm<128, 144, 4, 3, kXParts, kYParts, kFoldSteps, 4>;
// For tensors of 16 bits, whose rounding hides that of one product.
using RoughForm = ProductForm<128, 256, 2, 4, 1, 1, 0, 4>;
// Where blocks have less shared memory.
template <std::uint32_t kXParts, std::uint32_t kYParts, std::uint32_t kFoldSteps>
using SmallForm = ProductForm<128, 96, 4, 2, kXParts, kYParts, kFoldSteps, 2>;

// y[k][row] = sums times the scale of the row.
struct PredictResult {
  float* to;
  const float* row_scales;
  std::uint32_t components, pitch;

  __device__ float4 column(std::uint32_t row) const {
    return row < pitch ? *reinterpret_cast<const float4*>(row_scales + row) : make_float4(0, 0, 0, 0);
  }
  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4 scales, float4 sums) const {
    if (k >= components || row >= pitch) return;
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

  __device__ float4 column(std::uint32_t) const { return {}; }
  __device__ void operator()(std::uint32_t k, std::uint32_t row, float4, float4 sums) const {
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

  __device__ float mean(std::uint32_t channel) const {
    return channel < channels ? blended_at(means, channels, records, channel) : 0;
  }
  __device__ float4 column(std::uint32_t channel) const {
    return make_float4(mean(channel), mean(channel + 1), mean(channel + 2), mean(channel + 3));
  }
  __device__ void operator()(std::uint32_t row, std::uint32_t channel, float4 mean, float4 sums) const {
    if (row >= rows || channel >= channels) return;
    const float scale = __ldg(row_scales + row);
    const float four[4] = {sums.x * scale + mean.x, sums.y * scale + mean.y, sums.z * scale + mean.z,
                           sums.w * scale + mean.w};
    const std::size_t at = std::size_t{row} * channels + channel;
    const std::uint32_t count = min(4u, channels - channel);
    const float limit = dtype == 2 ? 3.38953139e38f : dtype == 1 ? 65504.0f : 3.40282347e38f;
    float values[4];
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) values[i] = bounded(four[i], limit);
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

// Of the larger of two records' sizes of a feature.
__device__ int exponent_at(const float* sizes, std::size_t features, const RecordPair& records,
                           std::uint32_t f) {
  const float size =
      fmaxf(__ldg(sizes + records.first * features + f), __ldg(sizes + records.second * features + f));
  return size == 0 ? 0 : exponent_of(size);
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
      const int exponent = exponent_at(sizes, features, records, f);
      value = blended_at(matrices, features * calibration.components, records, k * features + f) *
              power_of_two(-exponent);
    }
    const __half upper = __float2half_rn(value);
    const std::size_t at = std::size_t{k} * job.rows_side.pitch + f;
    job.matrix[0][at] = upper;
    job.matrix[1][at] = __float2half_rn(value - __half2float(upper));
  }
}

constexpr std::uint32_t kFeatureRows = 16, kFeatureThreads = 256, kFeatureColumns = 256;
constexpr std::uint32_t kFeatureWarps = kFeatureThreads / 32;

struct FeatureSource {
  const CalibrationArrays& calibration;
  RecordPair records;
  const float *latents, *previous_latents;
  float per_sigma;
  FeatureSources sources;
  const float* y;
  std::uint32_t features, pitch;

  __device__ float scale(std::uint32_t feature) const {
    if (sources.scales != nullptr) return __ldg(sources.scales + feature);
    return power_of_two(exponent_at(sources.sizes, features, records, feature));
  }
  __device__ float y_at(std::uint32_t feature, std::uint32_t row) const {
    return __ldg(y + std::size_t{feature} * pitch + row) * scale(feature);
  }
  // Features behind those of y.
  __device__ float latent_at(std::uint32_t feature, std::uint32_t row) const {
    std::uint32_t l = feature - sources.components;
    const std::uint32_t width = calibration.latents;
    const std::size_t i = std::size_t{row} * width;
    if (l < width)
      return (__ldg(latents + i + l) - blended_at(calibration.latent_means, width, records, l)) *
             scale(feature);
    l -= width;
    const float change = (__ldg(latents + i + l) - __ldg(previous_latents + i + l)) * per_sigma;
    return (change - blended_at(calibration.change_means, width, records, l)) * scale(feature);
  }
};

// Calls visit(feature, row, value) for the features from `first` to `end` of a block's rows: neighbours in
// memory by neighbouring threads. Rows past the end are others of the tensor.
template <class Visit>
__device__ void for_each_feature(const FeatureSource& source, std::uint32_t rows, std::uint32_t first,
                                 std::uint32_t end, const Visit& visit) {
  const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, first_row = blockIdx.x * kFeatureRows;
  const std::uint32_t of_y = min(max(source.sources.components, first), end);
  const std::uint32_t own = lane % kFeatureRows;
#pragma unroll 4
  for (std::uint32_t f = first + 2 * warp + lane / kFeatureRows; f < of_y; f += 2 * kFeatureWarps)
    visit(f, own, source.y_at(f, min(first_row + own, rows - 1)));
  for (std::uint32_t row = warp; row < kFeatureRows; row += kFeatureWarps) {
#pragma unroll 4
    for (std::uint32_t f = of_y + lane; f < end; f += 32)
      visit(f, row, source.latent_at(f, min(first_row + row, rows - 1)));
  }
}

// A block for 16 rows: how large they are, then their parts.
__global__ void __launch_bounds__(kFeatureThreads)
    make_features(CalibrationArrays calibration, const CalibratedStep* at, FeatureSources sources,
                  std::uint32_t rows, std::uint32_t pitch, FeatureRows to, std::uint32_t* not_finite) {
  __shared__ std::uint32_t largest[kFeatureRows];
  __shared__ float tile[kFeatureRows][kFeatureColumns + 2];
  const FeatureSource source{calibration,
                             at->records,
                             at->latents,
                             at->previous_latents,
                             at->per_sigma,
                             sources,
                             sources.of_next_y ? at->next_y : at->last_y,
                             to.features,
                             pitch};
  const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (threadIdx.x < kFeatureRows) largest[threadIdx.x] = 0;
  __syncthreads();
  // Sizes are ordered as the numbers of their bits are. A thread stays in few rows.
  std::uint32_t size = 0, last_row = 0;
  for_each_feature(source, rows, 0, to.features, [&](std::uint32_t, std::uint32_t row, float value) {
    if (row != last_row) {
      if (size > 0) atomicMax(&largest[last_row], size);
      size = 0, last_row = row;
    }
    size = max(size, __float_as_uint(value) & 0x7fffffffu);
  });
  if (size > 0) atomicMax(&largest[last_row], size);
  __syncthreads();
  if (threadIdx.x < kFeatureRows) {
    const std::uint32_t row = blockIdx.x * kFeatureRows + threadIdx.x;
    const float most = __uint_as_float(largest[threadIdx.x]);
    if (!is_finite(most) && not_finite != nullptr) *not_finite = 1;
    // Parts of binary16 reach from 2^15 down to 2^-24.
    const int exponent = most == 0 ? 0 : exponent_of(most) - 14;
    if (row < rows) to.row_scales[row] = power_of_two(exponent);
    largest[threadIdx.x] = __float_as_uint(power_of_two(-exponent));
  }
  for (std::uint32_t first = 0; first < to.pitch; first += kFeatureColumns) {
    const std::uint32_t end = min(first + kFeatureColumns, to.features);
    __syncthreads();
    if (first < end) {
      for_each_feature(source, rows, first, end, [&](std::uint32_t f, std::uint32_t row, float value) {
        tile[row][f - first] = value * __uint_as_float(largest[row]);
      });
    }
    for (std::uint32_t f = max(end, first) + threadIdx.x; f < min(first + kFeatureColumns, to.pitch);
         f += kFeatureThreads) {
      for (std::uint32_t row = 0; row < kFeatureRows; ++row) tile[row][f - first] = 0;
    }
    __syncthreads();
    for (std::uint32_t row = warp; row < kFeatureRows; row += kFeatureWarps) {
      const std::uint32_t own = blockIdx.x * kFeatureRows + row;
      if (own >= rows) break;
      for (std::uint32_t i = 2 * lane; i < kFeatureColumns && first + i < to.pitch; i += 64) {
        const float left = tile[row][i], right = tile[row][i + 1];
        const __half2 upper = __floats2half2_rn(left, right);
        const std::size_t place = std::size_t{own} * to.pitch + first + i;
        *reinterpret_cast<__half2*>(to.parts[0] + place) = upper;
        if (to.part_count < 2) continue;
        const float2 there = __half22float2(upper);
        *reinterpret_cast<__half2*>(to.parts[1] + place) = __floats2half2_rn(left - there.x, right - there.y);
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

template <template <std::uint32_t, std::uint32_t, std::uint32_t> class Form>
cudaError_t allow_forms() {
  cudaError_t failed = allow(predict<Form<2, 2, kOften>>, Form<2, 2, kOften>::kSharedBytes);
  if (failed == cudaSuccess)
    failed = allow(project<Form<2, 1, kNowAndThen>>, Form<2, 1, kNowAndThen>::kSharedBytes);
  if (failed == cudaSuccess)
    failed = allow(project<Form<2, 2, kNowAndThen>>, Form<2, 2, kNowAndThen>::kSharedBytes);
  if (failed == cudaSuccess) failed = allow(rebuild<Form<2, 2, kOften>>, Form<2, 2, kOften>::kSharedBytes);
  return failed == cudaSuccess ? allow(rebuild<Form<1, 1, kOften>>, Form<1, 1, kOften>::kSharedBytes)
                               : failed;
}

}  // namespace

cudaError_t allow_products(const ProductDevice& device) {
  if (!fits<RowForm<2, 2, kOften>>(device)) return allow_forms<SmallForm>();
  const cudaError_t failed = allow_forms<RowForm>();
  return failed == cudaSuccess ? allow(rebuild<RoughForm>, RoughForm::kSharedBytes) : failed;
}

void launch_features(const CalibrationArrays& calibration, const CalibratedStep* step,
                     const FeatureSources& sources, std::uint32_t rows, std::uint32_t pitch,
                     const FeatureRows& to, std::uint32_t* not_finite, cudaStream_t stream) {
  make_features<<<divided_up(rows, kFeatureRows), kFeatureThreads, 0, stream>>>(calibration, step, sources,
                                                                                rows, pitch, to, not_finite);
}

void launch_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream) {
  const std::uint32_t components = job.calibration.components;
  if (job.rows_side.features == 0) {
    cudaMemsetAsync(job.prediction, 0, sizeof(float) * job.pitch * components, stream);
    return;
  }
  blend<<<components, 256, 0, stream>>>(job);
  FeatureSources sources = job.sources;
  sources.sizes = job.with_history ? job.calibration.history_sizes : job.calibration.alone_sizes;
  launch_features(job.calibration, job.step, sources, job.rows, job.pitch, job.rows_side, job.not_finite,
                  stream);
  const auto start = [&]<class Form>(Form) {
    predict<Form>
        <<<blocks_of<Form>(device, components, job.rows), Form::kThreads, Form::kSharedBytes, stream>>>(job);
  };
  if (fits<RowForm<2, 2, kOften>>(device)) return start(RowForm<2, 2, kOften>{});
  start(SmallForm<2, 2, kOften>{});
}

void launch_projection(const CalibratedEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  const CalibrationArrays& calibration = job.predict.calibration;
  if (!job.is_direct)
    centre<<<dim3(job.predict.rows, divided_up(calibration.padded_channels, 256)), 256, 0, stream>>>(job);
  const auto start = [&]<class Form>(Form) {
    project<Form><<<blocks_of<Form>(device, calibration.components, job.predict.rows), Form::kThreads,
                    Form::kSharedBytes, stream>>>(job);
  };
  const bool large = fits<RowForm<2, 2, kOften>>(device);
  if (job.is_direct)
    return large ? start(RowForm<2, 1, kNowAndThen>{}) : start(SmallForm<2, 1, kNowAndThen>{});
  large ? start(RowForm<2, 2, kNowAndThen>{}) : start(SmallForm<2, 2, kNowAndThen>{});
}

void launch_rebuilding(const RebuildJob& job, const ProductDevice& device, cudaStream_t stream) {
  launch_features(
      job.calibration, job.step,
      {.components = job.calibration.components, .of_next_y = true, .scales = job.calibration.known_scales},
      job.rows, job.pitch, job.rows_side, nullptr, stream);
  const auto start = [&]<class Form>(Form) {
    rebuild<Form><<<blocks_of<Form>(device, job.rows, job.calibration.channels), Form::kThreads,
                    Form::kSharedBytes, stream>>>(job);
  };
  const bool large = fits<RowForm<2, 2, kOften>>(device), rough = job.rows_side.part_count == 1;
  if (large) return rough ? start(RoughForm{}) : start(RowForm<2, 2, kOften>{});
  rough ? start(SmallForm<1, 1, kOften>{}) : start(SmallForm<2, 2, kOften>{});
}

}  // namespace pinion::codec::cuda
