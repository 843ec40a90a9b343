#include "pinion/models/recorded_step.h"

#include <torch/csrc/autograd/autograd.h>

#include "pinion/models/torch_bridge.h"

namespace pinion::models {

TensorList from_torch(const NamedTorch& tensors) {
  TensorList list;
  for (const auto& [name, tensor] : tensors) list.push_back({name, from_torch(tensor)});
  return list;
}

RecordedStep::RecordedStep(NamedTorch entering, NamedTorch output)
    : entering_(std::move(entering)), output_(std::move(output)) {
  for (const auto& [name, tensor] : output_) handles_.push_back({name, from_torch(tensor.detach())});
}

Result<TensorList> RecordedStep::pull_back(const TensorList& cotangents) {
  std::vector<at::Tensor> roots, seeds, leaves;
  for (const auto& [name, tensor] : output_) {
    const Tensor* cotangent = find(cotangents, name);
    if (cotangent == nullptr || cotangent->shape() != from_torch(tensor.detach()).shape()) {
      return Error{Errc::kInvalidArgument,
                   "the cotangent of \"" + name + "\" is missing or has another shape than the output", ""};
    }
    roots.push_back(tensor);
    seeds.push_back(to_torch(*cotangent).to(tensor.device(), tensor.scalar_type()));
  }
  for (const auto& [name, tensor] : entering_) leaves.push_back(tensor);
  return caught([&]() -> Result<TensorList> {
    const std::vector<at::Tensor> gradients =
        torch::autograd::grad(roots, leaves, seeds, /*retain_graph=*/true, /*create_graph=*/false,
                              /*allow_unused=*/true);
    TensorList result;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      // What no output depends on has no gradient: that of the text rows after the last block, for one.
      const at::Tensor gradient = gradients[i].defined() ? gradients[i] : at::zeros_like(leaves[i]);
      result.push_back({entering_[i].first, from_torch(gradient)});
    }
    return result;
  });
}

}  // namespace pinion::models
