#include "pinion/pipeline/euler.h"

namespace pinion::pipeline {

// CMakeLists.txt compiles this file with -ffp-contract=off.
Tensor euler_step(const Tensor& latents, const Tensor& velocity, float delta_sigma) {
  PINION_ASSERT(latents.dtype() == DType::kF32 && velocity.dtype() == DType::kF32);
  PINION_ASSERT(latents.shape() == velocity.shape());
  Tensor next = Tensor::empty(DType::kF32, latents.shape());
  const auto* x = reinterpret_cast<const float*>(latents.view().data);
  const auto* v = reinterpret_cast<const float*>(velocity.view().data);
  auto* out = reinterpret_cast<float*>(next.mutable_data());
  for (std::int64_t i = 0; i < latents.elements(); ++i) out[i] = x[i] + delta_sigma * v[i];
  return next;
}

}  // namespace pinion::pipeline
