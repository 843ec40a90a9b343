#pragma once
// The launches of the kernels that encode mode 2, each asynchronous on the stream that it is given. They
// allocate nothing and report nothing: ask cudaGetLastError() behind a series of them.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/fidelity_encode_jobs.h"

namespace pinion::codec::cuda {

// Once for each device: lets blocks have the shared memory that the analysis takes.
cudaError_t allow_analysis(const ProductDevice& device);

// Means and energy of the channels, and what the means are as components.
void launch_channel_sums(const FidelityEncodeJob& job, cudaStream_t stream);
// The rows as components. Needs the means unless the tensor is taken as it is.
void launch_analysis(const FidelityEncodeJob& job, const ProductDevice& device, cudaStream_t stream);
// What components share because directions are not orthogonal; only with a basis.
void launch_inside(const FidelityEncodeJob& job, cudaStream_t stream);
// Spreads of the components.
void launch_spreads(const FidelityEncodeJob& job, cudaStream_t stream);
// Predictors, and steps to look at.
void launch_step_plan(const FidelityEncodeJob& job, cudaStream_t stream);
// Whether rows differ in size.
void launch_row_sizes(const FidelityEncodeJob& job, cudaStream_t stream);
// The step.
void launch_step_choice(const FidelityEncodeJob& job, cudaStream_t stream);
// Residuals at it, of the components and of the means.
void launch_component_residuals(const FidelityEncodeJob& job, cudaStream_t stream);
void launch_mean_residuals(const FidelityEncodeJob& job, cudaStream_t stream);
// Classes, offsets and the grid; the parameters as bits.
void launch_parameter_choice(const FidelityEncodeJob& job, cudaStream_t stream);
void launch_parameter_packing(const FidelityEncodeJob& job, cudaStream_t stream);
// The frame without its checksum, once chunks are coded.
void launch_fidelity_assembly(const FidelityEncodeJob& job, cudaStream_t stream);

}  // namespace pinion::codec::cuda
