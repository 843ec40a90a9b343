#pragma once
// The Euler step of flow matching: x + (sigma_next - sigma) * v.

#include "pinion/base/tensor.h"

namespace pinion::pipeline {

// Both float32 on the CPU and of one shape. The product and the sum are rounded one after the other on every
// machine (no fused multiply-add), because workers predict the next latents by the same two operations.
Tensor euler_step(const Tensor& latents, const Tensor& velocity, float delta_sigma);

}  // namespace pinion::pipeline
