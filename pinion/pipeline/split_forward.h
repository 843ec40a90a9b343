#pragma once
// One model evaluation with its blocks in their places: `pinion forward --worker`.

#include "pinion/models/family.h"
#include "pinion/pipeline/placed_model.h"

namespace pinion::pipeline {

struct SplitForward {
  Tensor velocity;  // [batch, grid tokens, latent channels], float32 on the CPU
  DenoiseTrace trace;
  std::optional<codec::CodecChoice> codec_choice;  // with an auto_codec
};

// References take part, but the velocity has the rows of the picture only.
Result<SplitForward> forward_split(models::Model& model, const models::ForwardCall& call,
                                   const SplitOptions& split, const models::StageOptions& stage);

}  // namespace pinion::pipeline
