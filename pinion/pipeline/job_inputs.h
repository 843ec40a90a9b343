#pragma once
// What a generation needs before its first step: text embeddings, noise, reference latents.

#include "pinion/models/stage.h"
#include "pinion/pipeline/generate.h"

namespace pinion::pipeline {

// The constants of one guidance branch. `prompt` is the request's, or empty for the negative branch.
struct JobInputs {
  models::JobConstants positive;
  std::optional<models::JobConstants> negative;  // only with real (two-pass) guidance
  Tensor noise;                                  // float32 [batch, grid tokens, channels]
  std::optional<client::NoiseSeed> noise_seed;   // what it was drawn from; none if it came from a file
};

// Needs a request whose optional fields are filled in. Loads the text encoder and, with reference pictures,
// the VAE, and releases them again.
Result<JobInputs> prepare_inputs(const GenerateRequest& request, const models::ModelInfo& model);

}  // namespace pinion::pipeline
