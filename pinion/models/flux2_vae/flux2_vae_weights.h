#pragma once
// Finds and loads the weights of a FLUX.2 VAE.

#include "pinion/models/flux2_vae/flux2_vae_model.h"

namespace pinion::models::flux2_vae {

struct VaeWeights {
  Half decoder;
  std::optional<Half> encoder;
  Affine quant_conv, post_quant_conv;
  at::Tensor mean, variance;  // float32 on the CPU
};

// Every shape is checked against the spec before anything is read.
Result<VaeWeights> load_weights(const Source& source, const StageOptions& options);

}  // namespace pinion::models::flux2_vae
