#pragma once
// Products of mode 6 on devices of compute capability 9.0, in place of those of
// calibrated_product_kernels.cu: see wide_product.cuh. Launches as in calibrated_kernels.h.

#include <cuda_runtime.h>

#include "pinion/codec/cuda/calibrated_kernels.h"

namespace pinion::codec::cuda {

// Whether the current device, and its driver, can do them; lets blocks have the shared memory then.
bool allow_wide_products(const ProductDevice& device);

// The tensor as a side of the projection, to CalibratedStep::tensor_map; false: it cannot be one.
bool make_tensor_map(const CalibrationArrays& calibration, const std::byte* tensor, std::uint32_t rows,
                     std::uint8_t (&map)[128]);

// Whether they were started: not where the driver makes no map of a side.
bool launch_wide_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream);
// Of jobs that are direct.
bool launch_wide_projection(const CalibratedEncodeJob& job, const ProductDevice& device, cudaStream_t stream);
// Of tensors that take one part of each side, channels a multiple of four.
bool launch_wide_rebuilding(const RebuildJob& job, const ProductDevice& device, cudaStream_t stream);

}  // namespace pinion::codec::cuda
