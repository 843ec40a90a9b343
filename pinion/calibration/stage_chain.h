#pragma once
// A whole model as a chain of stages on one device, cut where calibration looks. One forward pass yields the
// states at all cuts; one backward pass pulls a change of the velocity back to all of them.
//
// One object is used by one thread at a time. Memory: all weights, and during pull_back the activations of
// one stage; longer stages are cut further so that a stage has at most `max_stage_blocks` blocks.

#include <memory>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::calibration {

// The states at the chain's cuts and what the model made of them.
struct ChainStep {
  std::vector<TensorList> states;  // one per cut, in the order of the cuts; on the stages' device
  Tensor velocity;                 // [batch, grid tokens, latent channels]
};

class StageChain {
 public:
  // `cuts` rise and lie inside the model (kInvalidArgument otherwise).
  static Result<StageChain> load(models::Model& model, const std::vector<int>& cuts,
                                 const models::StageOptions& options, int max_stage_blocks);

  Result<void> begin_job(const models::JobConstants& constants);

  Result<ChainStep> step(const std::vector<float>& sigma, const Tensor& latents);

  // The two parts of a step on their own, apart at one of the cuts: the state that reaches it, and the
  // velocity that a state there leads to.
  Result<TensorList> state_at(std::size_t cut, const std::vector<float>& sigma, const Tensor& latents);
  Result<Tensor> velocity_from(std::size_t cut, const std::vector<float>& sigma, TensorList state);

  // Of the last step(): J^T c at every cut, in the form of ChainStep::states, where J is the derivative of
  // the velocity with respect to the state and `c` is shaped as the velocity. `visit` is called for each of
  // `cotangents`, by its number, once for each cut, last cut first; the tensors die with the call.
  using Visitor =
      std::function<Result<void>(std::size_t cut, std::size_t cotangent, const TensorList& gradient)>;
  Result<void> pull_back(const TensorList& cotangents, const Visitor& visit);

 private:
  struct Link {
    std::unique_ptr<models::Stage> stage;
    std::unique_ptr<models::StageJob> job;
    std::optional<std::size_t> cut;  // the index of the cut that it begins at
    models::StepInput input;         // of the last step
  };

  std::size_t link_at(std::size_t cut) const;
  Result<TensorList> run(std::size_t begin, std::size_t end, const std::vector<float>& sigma,
                         TensorList state);

  std::vector<Link> links_;
};

}  // namespace pinion::calibration
