#pragma once
// A step recorded by libtorch's autograd, behind models/stage.h. Names no family.

#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::models {

using NamedTorch = std::vector<std::pair<std::string, at::Tensor>>;

// Handles on the same memory.
TensorList from_torch(const NamedTorch& tensors);

class RecordedStep : public LinearisedStep {
 public:
  // `entering` are leaves that require gradients, `output` was computed from them while autograd recorded.
  RecordedStep(NamedTorch entering, NamedTorch output);

  const StepOutput& output() const override { return handles_; }
  Result<TensorList> pull_back(const TensorList& cotangents) override;

 private:
  NamedTorch entering_;
  NamedTorch output_;
  StepOutput handles_;
};

}  // namespace pinion::models
