#pragma once
// One evaluation of a diffusion model on given tensors: the part of `pinion forward` that may be split.

#include <filesystem>

#include "pinion/base/tensor.h"
#include "pinion/models/stage.h"

namespace pinion::cli {

struct ForwardRequest {
  std::filesystem::path model;
  TensorList arguments;  // named as those of the reference implementation's forward
  models::StageOptions stage;
  bool hidden = false;  // also the state that enters every block
};

// `sample`, and with `hidden` also `hidden.N.<tensor>`; float32 on the CPU.
Result<TensorList> forward_diffusion(const ForwardRequest& request);

}  // namespace pinion::cli
