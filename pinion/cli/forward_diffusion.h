#pragma once
// One evaluation of a diffusion model on given tensors: the part of `pinion forward` that may be split.

#include <filesystem>

#include "pinion/base/tensor.h"
#include "pinion/models/stage.h"
#include "pinion/pipeline/placed_model.h"

namespace pinion::cli {

struct ForwardRequest {
  std::filesystem::path model;
  TensorList arguments;  // named as those of the reference implementation's forward
  models::StageOptions stage;
  bool hidden = false;  // also the state that enters every block; only without workers
  pipeline::SplitOptions split;
};

// `sample`, and with `hidden` also `hidden.N.<tensor>`; float32 on the CPU. With workers the
// sample has the rows of the picture only, not those of reference pictures.
Result<TensorList> forward_diffusion(const ForwardRequest& request);

}  // namespace pinion::cli
