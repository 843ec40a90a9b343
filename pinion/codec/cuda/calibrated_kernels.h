#pragma once
// The launches of the kernels of mode 6, each asynchronous on the stream that it is given. They allocate
// nothing and report nothing: ask cudaGetLastError() behind a series of them.

#include <cuda_runtime.h>

#include "pinion/codec/cuda/calibrated_encode_job.h"

namespace pinion::codec::cuda {

// What a device offers to kernels of products.
struct ProductDevice {
  int processors = 1;
  std::size_t shared_bytes = 0;  // of a block at most
  bool is_wide = false;          // see wide_products.h
};

// Once for each device, before any of them: lets blocks have the shared memory that products take.
cudaError_t allow_products(const ProductDevice& device);

// Features to prediction. The residual: projection less its means and the prediction.
void launch_prediction(const PredictJob& job, const ProductDevice& device, cudaStream_t stream);
void launch_projection(const CalibratedEncodeJob& job, const ProductDevice& device, cudaStream_t stream);
// y and latents to the tensor.
void launch_rebuilding(const RebuildJob& job, const ProductDevice& device, cudaStream_t stream);

// Loudness, bands, coded order of the rows, and the map of the bands; only with loudness.
void launch_row_order(const CalibratedEncodeJob& job, cudaStream_t stream);
// With tiles, the residual's coefficients.
void launch_transform(const CalibratedEncodeJob& job, cudaStream_t stream);
// Residuals to a step that meets the target, indices at it, and what each class would cost.
void launch_quantisation(const CalibratedEncodeJob& job, cudaStream_t stream);
// Classes, the grid and the body's fields.
void launch_class_choice(const CalibratedEncodeJob& job, cudaStream_t stream);
void launch_advance(const AdvanceJob& job, cudaStream_t stream);
// The frame without its checksum, once chunks are coded.
void launch_calibrated_assembly(const CalibratedEncodeJob& job, cudaStream_t stream);

}  // namespace pinion::codec::cuda
