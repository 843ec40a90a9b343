#pragma once
// Runs jobs through a model and sums what a calibration is solved from: per cut, state tensor and step the
// second moments of the rows, and how the velocity changes with them (sensitivity).
//
// One object is used by one thread at a time.

#include "pinion/calibration/moments.h"
#include "pinion/calibration/stage_chain.h"

namespace pinion::calibration {

// One state tensor at one cut.
struct StreamSums {
  models::StateTensorSchema schema;

  // Per step, rows joined from: h_t, then h_{t-1} (from the second step on), then, where the rows are those
  // of the latents, x_t, then w_t = (x_t - x_{t-1}) / (sigma_t - sigma_{t-1}) (from the second step on) and
  // v_t.
  std::vector<Moments> steps;

  // g g^T over all rows, steps and probes, where g is a row of J^T u, u standard normal, and J the derivative
  // of the velocity with respect to the state: its mean S makes e^T S e the energy that an error e of a row
  // adds to the velocity.
  Gram sensitivity;
};

struct CutSums {
  int cut = 0;
  std::vector<StreamSums> streams;  // in the order of ModelInfo::state
};

struct GatherSettings {
  std::vector<int> cuts;
  std::vector<double> sigmas;  // steps + 1 noise levels
  int probes = 2;              // a step
  int max_stage_blocks = 8;    // whose activations are held at a time
  models::StageOptions stage;
};

class Gatherer {
 public:
  static Result<Gatherer> create(models::Model& model, GatherSettings settings);

  // One whole job with the Euler sampler. `noise` is float32 [1, grid tokens, latent channels] on the CPU;
  // `seed` draws the probes. `after_step` may end it early by an error.
  Result<void> run_job(const models::JobConstants& constants, const Tensor& noise, std::uint64_t seed,
                       const std::function<Result<void>(int step)>& after_step);

  const std::vector<CutSums>& sums() const { return sums_; }

 private:
  Gatherer(StageChain chain, GatherSettings settings, const models::ModelInfo& info);

  struct Before;  // the step before
  void add_moments(std::size_t step, const ChainStep& now, const at::Tensor& latents, const Before& before);
  Result<void> add_sensitivity(const Tensor& velocity, std::uint64_t seed);

  StageChain chain_;
  GatherSettings settings_;
  std::vector<CutSums> sums_;
};

}  // namespace pinion::calibration
