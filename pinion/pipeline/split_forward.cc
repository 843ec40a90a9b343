#include "pinion/pipeline/split_forward.h"

namespace pinion::pipeline {

Result<SplitForward> forward_split(models::Model& model, const models::ForwardCall& call,
                                   const SplitOptions& split, const models::StageOptions& stage) {
  const Tensor* latents = find(call.input.state, "latents");
  PINION_ASSERT(latents != nullptr);
  PINION_TRY(PlacedModel placed, PlacedModel::place(model, split, stage));
  PINION_TRY(const auto denoiser, placed.begin_job(call.constants));
  SplitForward result;
  const DenoiseInput input{
      .step = 0, .sigma = call.input.sigma, .delta_sigma = 0, .latents = *latents, .noise = {}};
  PINION_TRY(result.velocity, denoiser->velocity(input, result.trace));
  result.codec_choice = placed.codec_choice();
  PINION_TRY_VOID(denoiser->finish());
  return result;
}

}  // namespace pinion::pipeline
