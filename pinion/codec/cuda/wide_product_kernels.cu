// The products of mode 6 on devices of compute capability 9.0.

#include <cuda.h>

#include "pinion/codec/cuda/launch.cuh"
#include "pinion/codec/cuda/product_results.cuh"
#include "pinion/codec/cuda/wide_product.cuh"
#include "pinion/codec/cuda/wide_products.h"

namespace pinion::codec::cuda {
namespace {

// Folds as in calibrated_product_kernels.cu. 4608 rows by 512 components make 128 tiles of 128 by 144.
using PredictForm = WideForm<144, 2, 2, 1, 3, true>;
using ProjectForm = WideForm<144, 2, 1, 8, 4, true>;
using RebuildForm = WideForm<256, 1, 1, 0, 4, false>;

struct Maps {
  CUtensorMap x[2], y[2];
};
static_assert(sizeof(CUtensorMap) == sizeof(CalibratedStep::tensor_map));

extern __shared__ uint4 wide_memory[];

template <class Number, class Form, class Result>
__device__ void multiply_into(const WideSides& sides, const Result& result) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  WideProduct<Number, Form>(sides, reinterpret_cast<std::byte*>(wide_memory)).run(result);
#endif
}

__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(PredictForm::kThreads, 1)
    predict_wide(const __grid_constant__ Maps maps, PredictJob job) {
  wait_for_earlier_work();
  multiply_into<__half, PredictForm>(
      {{&maps.x[0], &maps.x[1]},
       {&maps.y[0], &maps.y[1]},
       job.calibration.components,
       job.rows,
       job.rows_side.pitch},
      PredictResult{job.prediction, job.rows_side.row_scales, job.calibration.components, job.pitch});
}

__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(ProjectForm::kThreads, 1)
    project_wide(const __grid_constant__ Maps maps, CalibratedEncodeJob job) {
  wait_for_earlier_work();
  const CalibrationArrays& calibration = job.predict.calibration;
  const CalibratedStep& step = *job.predict.step;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  see_map(step.tensor_map);
#endif
  multiply_into<__nv_bfloat16, ProjectForm>(
      {{&maps.x[0], &maps.x[1]},
       {step.tensor_map, nullptr},
       calibration.components,
       job.predict.rows,
       calibration.channels},
      ResidualResult{job.residual, job.predict.prediction, step.records, calibration.projected_means,
                     calibration.components, job.predict.pitch});
}

__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(RebuildForm::kThreads, 1)
    rebuild_wide(const __grid_constant__ Maps maps, RebuildJob job) {
  wait_for_earlier_work();
  const CalibrationArrays& calibration = job.calibration;
  const CalibratedStep& step = *job.step;
  multiply_into<__half, RebuildForm>(
      {{&maps.x[0], nullptr},
       {&maps.y[0], nullptr},
       job.rows,
       calibration.channels,
       calibration.padded_known},
      RebuildResult<true, true>{step.out, step.records, calibration.means, job.rows_side.row_scales, job.rows,
                                calibration.channels, job.dtype});
}

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

EncodeTiled driver_call() {
  void* call = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &call, 12000, cudaEnableDefault, &found);
  if (status != cudaSuccess) cudaGetLastError();  // so that nobody else finds it
  return status == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(call)
                                                                       : nullptr;
}

// Boxes of 64 numbers of `box` rows each. False: the driver makes no such map, and `map` is not one.
bool make_map(CUtensorMap& map, const void* numbers, bool is_half, std::uint32_t rows, std::uint32_t depth,
              std::uint32_t pitch, std::uint32_t box) {
  static const EncodeTiled encode = driver_call();
  const cuuint64_t sizes[2] = {depth, rows}, strides[1] = {std::uint64_t{pitch} * 2};
  const cuuint32_t boxes[2] = {64, box}, steps[2] = {1, 1};
  return encode != nullptr &&
         encode(&map, is_half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
                const_cast<void*>(numbers), sizes, strides, boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <class Form>
std::uint32_t blocks_of(const ProductDevice& device, std::uint32_t m, std::uint32_t n) {
  const auto divided_up = [](std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; };
  const std::uint32_t tiles_m = divided_up(m, Form::kM), tiles_n = divided_up(n, Form::kN);
  const std::uint32_t pairs =
      Form::kSharesX ? tiles_m * divided_up(tiles_n, 2) : divided_up(tiles_m, 2) * tiles_n;
  const auto at_once = static_cast<std::uint32_t>(device.processors) / 2;
  return 2 * (pairs < at_once ? pairs : at_once);
}

template <class Kernel>
bool allow(Kernel kernel, std::size_t bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)) ==
         cudaSuccess;
}

}  // namespace

bool allow_wide_products(const ProductDevice& device) {
  int number = 0, major = 0, minor = 0;
  cudaGetDevice(&number);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number);
  if (major != 9 || minor != 0 || device.shared_bytes < PredictForm::kSharedBytes || driver_call() == nullptr)
    return false;
  const bool allowed = allow(predict_wide, PredictForm::kSharedBytes) &&
                       allow(project_wide, ProjectForm::kSharedBytes) &&
                       allow(rebuild_wide, RebuildForm::kSharedBytes);
  if (!allowed) cudaGetLastError();
  return allowed;
}

bool make_tensor_map(const CalibrationArrays& calibration, const std::byte* tensor, std::uint32_t rows,
                     std::uint8_t (&map)[128]) {
  return make_map(reinterpret_cast<CUtensorMap&>(map), tensor, false, rows, calibration.channels,
                  calibration.channels, ProjectForm::kYBox);
}

bool launch_wide_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream) {
  const FeatureRows& rows = job.rows_side;
  const std::uint32_t components = job.calibration.components;
  Maps maps;
  for (int part = 0; part < 2; ++part) {
    const bool made =
        make_map(maps.x[part], job.matrix[part], true, components, rows.pitch, rows.pitch,
                 PredictForm::kXBox) &&
        make_map(maps.y[part], rows.parts[part], true, job.rows, rows.pitch, rows.pitch, PredictForm::kYBox);
    if (!made) return false;
  }
  start_behind(predict_wide, blocks_of<PredictForm>(device, components, job.rows), PredictForm::kThreads,
               PredictForm::kSharedBytes, stream, maps, job);
  return true;
}

bool launch_wide_projection(const CalibratedEncodeJob& job, const ProductDevice& device,
                            cudaStream_t stream) {
  const CalibrationArrays& calibration = job.predict.calibration;
  Maps maps;
  for (int part = 0; part < 2; ++part) {
    if (!make_map(maps.x[part], calibration.projection[part], false, calibration.components,
                  calibration.channels, calibration.padded_channels, ProjectForm::kXBox))
      return false;
  }
  start_behind(project_wide, blocks_of<ProjectForm>(device, calibration.components, job.predict.rows),
               ProjectForm::kThreads, ProjectForm::kSharedBytes, stream, maps, job);
  return true;
}

bool launch_wide_rebuilding(const RebuildJob& job, const ProductDevice& device, cudaStream_t stream) {
  const CalibrationArrays& calibration = job.calibration;
  Maps maps;
  const bool made = make_map(maps.x[0], job.rows_side.parts[0], true, job.rows, job.rows_side.pitch,
                             job.rows_side.pitch, RebuildForm::kXBox) &&
                    make_map(maps.y[0], calibration.reconstruction[0], true, calibration.channels,
                             calibration.padded_known, calibration.padded_known, RebuildForm::kYBox);
  if (!made) return false;
  start_behind(rebuild_wide, blocks_of<RebuildForm>(device, job.rows, calibration.channels),
               RebuildForm::kThreads, RebuildForm::kSharedBytes, stream, maps, job);
  return true;
}

}  // namespace pinion::codec::cuda
