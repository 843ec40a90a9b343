// The products of mode 6: prediction, projection and reconstruction, with what stands around them.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/calibrated_numbers.cuh"
#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/product_results.cuh"
#include "pinion/codec/cuda/tile_product.cuh"
#include "pinion/codec/cuda/wide_products.h"

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
      product,
      RebuildResult<Form::kXParts == 1>{step.out, step.records, calibration.means, job.rows_side.row_scales,
                                        job.rows, calibration.channels, job.dtype});
}

// Of the larger of two records' sizes of a feature.
__device__ int exponent_at(const float* sizes, std::size_t features, const RecordPair& records,
                           std::uint32_t f) {
  const float size =
      fmaxf(__ldg(sizes + records.first * features + f), __ldg(sizes + records.second * features + f));
  return size == 0 ? 0 : exponent_of(size);
}

constexpr std::uint32_t kFeatureRows = 8, kFeatureThreads = 256;
constexpr std::uint32_t kHeld = 3;  // features of a thread that are on their way at once
constexpr std::uint32_t kFeaturesHeld = kHeld * kFeatureThreads;

// One feature of some rows: what it is made of, for a thread.
struct Feature {
  const float* y = nullptr;  // [rows], or from latents:
  const float *latents = nullptr, *previous_latents = nullptr;
  std::uint32_t width = 0;  // from a row's latents to those of the next
  float mean = 0, per_sigma = 1, scale = 0;

  __device__ Feature(const CalibrationArrays& calibration, const CalibratedStep& step,
                     const FeatureSources& sources, std::uint32_t features, std::uint32_t pitch,
                     std::uint32_t f) {
    if (f >= features) return;
    scale = sources.scales != nullptr ? __ldg(sources.scales + f)
                                      : power_of_two(exponent_at(sources.sizes, features, step.records, f));
    if (f < sources.components) {
      y = (sources.of_next_y ? step.next_y : step.last_y) + std::size_t{f} * pitch;
      return;
    }
    width = calibration.latents;
    std::uint32_t l = f - sources.components;
    const bool is_change = l >= width;
    if (is_change) l -= width;
    latents = step.latents + l;
    mean =
        blended_at(is_change ? calibration.change_means : calibration.latent_means, width, step.records, l);
    if (!is_change) return;
    previous_latents = step.previous_latents + l;
    per_sigma = step.per_sigma;
  }

  // Of kFeatureRows rows; those past the end are 0.
  __device__ void load(std::uint32_t first, std::uint32_t rows, float (&to)[kFeatureRows]) const {
    if (y != nullptr) {
#pragma unroll
      for (std::uint32_t i = 0; i < kFeatureRows; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(y + first + i);
        to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
      }
    } else if (latents != nullptr) {
#pragma unroll
      for (std::uint32_t i = 0; i < kFeatureRows; ++i)
        to[i] = __ldg(latents + std::size_t{min(first + i, rows - 1)} * width);
      if (previous_latents != nullptr) {
#pragma unroll
        for (std::uint32_t i = 0; i < kFeatureRows; ++i)
          to[i] -= __ldg(previous_latents + std::size_t{min(first + i, rows - 1)} * width);
      }
    }
#pragma unroll
    for (std::uint32_t i = 0; i < kFeatureRows; ++i)
      to[i] = scale == 0 || first + i >= rows ? 0 : (to[i] * per_sigma - mean) * scale;
  }
};

// A row's two neighbouring features as one store for each part.
__device__ void put_pair(const FeatureRows& to, std::size_t place, float left, float right) {
  const __half2 upper = __floats2half2_rn(left, right);
  *reinterpret_cast<__half2*>(to.parts[0] + place) = upper;
  if (to.part_count < 2) return;
  const float2 there = __half22float2(upper);
  *reinterpret_cast<__half2*>(to.parts[1] + place) = __floats2half2_rn(left - there.x, right - there.y);
}

// Features of a block's rows from `begin` on, a few for each thread.
__device__ void load_features(const CalibrationArrays& calibration, const CalibratedStep& step,
                              const FeatureSources& sources, std::uint32_t features, std::uint32_t begin,
                              std::uint32_t rows, std::uint32_t pitch, float (&to)[kHeld][kFeatureRows]) {
#pragma unroll
  for (std::uint32_t h = 0; h < kHeld; ++h) {
    const std::uint32_t f = begin + h * kFeatureThreads + threadIdx.x;
    Feature(calibration, step, sources, features, pitch, f).load(blockIdx.x * kFeatureRows, rows, to[h]);
  }
}

// A block for some rows: how large they are, then their parts.
__device__ void make_feature_rows(const CalibrationArrays& calibration, const CalibratedStep& step,
                                  const FeatureSources& sources, std::uint32_t rows, std::uint32_t pitch,
                                  const FeatureRows& to, std::uint32_t* not_finite) {
  __shared__ std::uint32_t largest[kFeatureThreads / 32][kFeatureRows];
  __shared__ float scales[kFeatureRows];
  const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = blockIdx.x * kFeatureRows;
  float values[kHeld][kFeatureRows] = {};
  // Sizes are ordered as the numbers of their bits are.
  std::uint32_t sizes[kFeatureRows] = {};
  for (std::uint32_t begin = 0; begin < to.features; begin += kFeaturesHeld) {
    load_features(calibration, step, sources, to.features, begin, rows, pitch, values);
#pragma unroll
    for (std::uint32_t i = 0; i < kHeld * kFeatureRows; ++i)
      sizes[i % kFeatureRows] = max(
          sizes[i % kFeatureRows], __float_as_uint(values[i / kFeatureRows][i % kFeatureRows]) & 0x7fffffffu);
  }
#pragma unroll
  for (std::uint32_t i = 0; i < kFeatureRows; ++i) {
    for (int distance = 16; distance > 0; distance /= 2)
      sizes[i] = max(sizes[i], __shfl_xor_sync(0xffffffffu, sizes[i], distance));
    if (lane == 0) largest[warp][i] = sizes[i];
  }
  __syncthreads();
  if (threadIdx.x < kFeatureRows) {
    std::uint32_t size = 0;
    for (std::uint32_t w = 0; w < kFeatureThreads / 32; ++w) size = max(size, largest[w][threadIdx.x]);
    const float most = __uint_as_float(size);
    if (!is_finite(most) && not_finite != nullptr) *not_finite = 1;
    // Parts of binary16 reach from 2^15 down to 2^-24.
    const int exponent = most == 0 ? 0 : exponent_of(most) - 14;
    if (first + threadIdx.x < rows) to.row_scales[first + threadIdx.x] = power_of_two(exponent);
    scales[threadIdx.x] = power_of_two(-exponent);
  }
  __syncthreads();
  const bool odd = lane % 2 == 1;
  for (std::uint32_t begin = 0; begin < to.pitch; begin += kFeaturesHeld) {
    if (to.pitch > kFeaturesHeld)
      load_features(calibration, step, sources, to.features, begin, rows, pitch, values);
      // Of two rows, each of two neighbours in a warp writes one.
#pragma unroll
    for (std::uint32_t h = 0; h < kHeld; ++h) {
      const std::uint32_t f = begin + h * kFeatureThreads + threadIdx.x;
#pragma unroll
      for (std::uint32_t i = 0; i < kFeatureRows; i += 2) {
        const float upper = values[h][i] * scales[i], lower = values[h][i + 1] * scales[i + 1];
        const float other = __shfl_xor_sync(0xffffffffu, odd ? upper : lower, 1);
        const std::uint32_t row = first + i + (odd ? 1 : 0);
        if (row >= rows || f >= to.pitch) continue;
        put_pair(to, std::size_t{row} * to.pitch + f - (odd ? 1 : 0), odd ? other : upper,
                 odd ? lower : other);
      }
    }
  }
}

// Of y and latents of this step, for the reconstruction.
__global__ void __launch_bounds__(kFeatureThreads)
    make_features(CalibrationArrays calibration, const CalibratedStep* step, FeatureSources sources,
                  std::uint32_t rows, std::uint32_t pitch, FeatureRows to) {
  wait_for_earlier_work();
  make_feature_rows(calibration, *step, sources, rows, pitch, to, nullptr);
}

// A component's row of the predictor of a position in two parts, each column divided by its largest entry's
// power of two.
__device__ void blend_row(const PredictJob& job, std::uint32_t k) {
  const CalibrationArrays& calibration = job.calibration;
  const RecordPair records = job.step->records;
  const std::size_t features = job.rows_side.features;
  const float* const matrices = job.with_history ? calibration.history : calibration.alone;
  const float* const sizes = job.with_history ? calibration.history_sizes : calibration.alone_sizes;
#pragma unroll 3
  for (std::uint32_t f = threadIdx.x; f < job.rows_side.pitch; f += kFeatureThreads) {
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

// Both sides of the prediction: blocks for rows of features, then one for each component.
__global__ void __launch_bounds__(kFeatureThreads) prepare_prediction(PredictJob job) {
  wait_for_earlier_work();
  const std::uint32_t blocks = (job.rows - 1) / kFeatureRows + 1;
  if (blockIdx.x >= blocks) return blend_row(job, blockIdx.x - blocks);
  make_feature_rows(job.calibration, *job.step, job.sources, job.rows, job.pitch, job.rows_side,
                    job.not_finite);
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

void launch_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream) {
  const std::uint32_t components = job.calibration.components;
  if (job.rows_side.features == 0) {
    cudaMemsetAsync(job.prediction, 0, sizeof(float) * job.pitch * components, stream);
    return;
  }
  PredictJob prepared = job;
  prepared.sources.sizes = job.with_history ? job.calibration.history_sizes : job.calibration.alone_sizes;
  prepare_prediction<<<divided_up(job.rows, kFeatureRows) + components, kFeatureThreads, 0, stream>>>(
      prepared);
  if (device.is_wide && launch_wide_prediction(job, device, stream)) return;
  const auto start = [&]<class Form>(Form) {
    predict<Form>
        <<<blocks_of<Form>(device, components, job.rows), Form::kThreads, Form::kSharedBytes, stream>>>(job);
  };
  if (fits<RowForm<2, 2, kOften>>(device)) return start(RowForm<2, 2, kOften>{});
  start(SmallForm<2, 2, kOften>{});
}

void launch_projection(const CalibratedEncodeJob& job, const ProductDevice& device, cudaStream_t stream) {
  const CalibrationArrays& calibration = job.predict.calibration;
  if (job.is_direct && device.is_wide && launch_wide_projection(job, device, stream)) return;
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
  const FeatureSources sources{
      .components = job.calibration.components, .of_next_y = true, .scales = job.calibration.known_scales};
  start_behind(make_features, divided_up(job.rows, kFeatureRows), kFeatureThreads, 0, stream, job.calibration,
               job.step, sources, job.rows, job.pitch, job.rows_side);
  const auto start = [&]<class Form>(Form) {
    rebuild<Form><<<blocks_of<Form>(device, job.rows, job.calibration.channels), Form::kThreads,
                    Form::kSharedBytes, stream>>>(job);
  };
  const bool large = fits<RowForm<2, 2, kOften>>(device), rough = job.rows_side.part_count == 1;
  if (rough && device.is_wide && job.calibration.channels % 4 == 0 &&
      launch_wide_rebuilding(job, device, stream))
    return;
  if (large) return rough ? start(RoughForm{}) : start(RowForm<2, 2, kOften>{});
  rough ? start(SmallForm<1, 1, kOften>{}) : start(SmallForm<2, 2, kOften>{});
}

}  // namespace pinion::codec::cuda
