#pragma once
// What goes with FLUX.2's weights into another file layout. Pure functions.

#include "pinion/models/flux2/flux2_spec.h"

namespace pinion::models::flux2 {

// The config.json that diffusers makes its Flux2Transformer2DModel from.
std::string diffusers_config(const Spec& spec);

// The tensors of a diffusers VAE folder under BFL's names; views of its file. An encoder that is not 128
// channels wide is left out (and said so in the log): ComfyUI would refuse the whole file for it, but decodes
// without.
Result<TensorList> bfl_vae(const Weights& diffusers_vae);

}  // namespace pinion::models::flux2
