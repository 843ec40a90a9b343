#pragma once
// Keeps what crosses a model's cuts in a job, and what both ends of a cut know: the data that `pinion codec`
// and the benches of the codec work on.
//
// One recorder serves one job and one thread.

#include <memory>
#include <optional>
#include <vector>

#include "pinion/pipeline/denoiser.h"

namespace pinion::pipeline {

class JobRecorder {
 public:
  // kInvalidArgument: a cut is not between two of the model's blocks.
  static Result<JobRecorder> create(std::vector<int> cuts, int block_count);

  // A denoiser that does what `inner` does, whose blocks all run in this process, and records its steps.
  // `this` must outlive it.
  std::unique_ptr<Denoiser> around(std::unique_ptr<Denoiser> inner);

  // What was recorded, step after step; a batch is more rows, all tensors are copies in host memory:
  //   cutK.NAME.tN  the state that enters block K at step N, [rows, channels] in the stage's dtype
  //   latents.tN    what the step began with, [rows, channels], float32
  //   velocity.tN   what it gave, likewise
  //   sigmas        noise levels, [steps], float32
  // Or the first failure.
  Result<TensorList> take();

 private:
  class Recording;
  explicit JobRecorder(std::vector<int> cuts) : cuts_(std::move(cuts)) {}
  void keep_state(int block, const TensorList& state, int step);
  void keep(const std::string& name, int step, const Tensor& tensor);

  std::vector<int> cuts_;
  TensorList tensors_;
  std::vector<float> sigmas_;
  std::optional<Error> failure_;
};

}  // namespace pinion::pipeline
