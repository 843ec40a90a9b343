#pragma once
// A call of diffusers' Flux2Transformer2DModel.forward, as tensors named after its arguments, in our terms.

#include "pinion/models/family.h"

namespace pinion::models::flux2 {

// hidden_states [B, tokens, C] (the picture's tokens, then those of references), encoder_hidden_states
// [B, text tokens, C'], timestep [B] in [0, 1], guidance [B] (only if the model takes it; ignored otherwise),
// img_ids and txt_ids [tokens, 4] or [B, tokens, 4]: they must be whole grids and a count, in the order of
// flux2_rope.h, because a stage rebuilds them from the sizes. kInvalidArgument says which is not.
Result<ForwardCall> read_diffusers_call(const ModelInfo& model, const TensorList& arguments);

}  // namespace pinion::models::flux2
