#pragma once
// Runs jobs through a model and sums what a calibration is solved from, in two passes: first, on some of the
// jobs, how the output changes with the rows (sensitivity); then the second moments of the rows per cut,
// state tensor and step, in which rows count as they are heard.
//
// One object is used by one thread at a time.

#include "pinion/calibration/moments.h"
#include "pinion/calibration/row_loudness.h"
#include "pinion/calibration/stage_chain.h"

namespace pinion::calibration {

// One state tensor at one cut.
struct StreamSums {
  models::StateTensorSchema schema;

  // Per step, rows joined from: h_t, then h_{t-1} (from the second step on), then, where the rows are those
  // of the latents, x_t, then w_t = (x_t - x_{t-1}) / (sigma_t - sigma_{t-1}) (from the second step on) and
  // v_t. Rows without latents count by their loudness.
  std::vector<Moments> steps;

  // Per step, g g^T over all rows and probes, where g is a row of J^T u, J the derivative of the velocity
  // with respect to the state, and rows of u normal with the covariance of Gatherer::set_metric(): its mean S
  // makes e^T S e the energy, in that metric, that an error e of a row adds to the velocity; of a row 2^l
  // times as loud as the mean, 2^l e^T S e. Where rows are those of the latents, of [g | u]: how g follows u
  // is the mean of J from a row to itself.
  std::vector<Gram> sensitivity;

  // Per step; of rows with latents, in what the response leaves of g. Only rows without count by it in the
  // moments.
  std::vector<Loudness> loudness;
  std::vector<double> mean_loudness;  // of the rows that `steps` were given
};

struct CutSums {
  int cut = 0;
  bool is_corrected = true;  // whether who sends across it gets the velocity, to take the response out of it
  std::vector<StreamSums> streams;  // in the order of ModelInfo::state
};

struct GatherSettings {
  std::vector<int> cuts;
  std::vector<double> sigmas;    // steps + 1 noise levels
  std::vector<int> worker_cuts;  // of them, those whose sums are not corrected
  int probes = 1;                // a step and job
  int max_stage_blocks = 8;      // whose activations are held at a time
  models::StageOptions stage;
};

class Gatherer {
 public:
  static Result<Gatherer> create(models::Model& model, GatherSettings settings);

  // The latents after the last step of a job, [1, grid tokens, latent channels]. Nothing is summed.
  using AfterStep = std::function<Result<void>(int step)>;
  Result<Tensor> run(const models::JobConstants& constants, const Tensor& noise, const AfterStep& after_step);

  // How errors of the velocity count: a row e as e M e^T, M [latent channels, latent channels], symmetric and
  // not negative. Before any sensitivity; without it, M = 1.
  void set_metric(const at::Tensor& metric);

  // One whole job with the Euler sampler. `noise` is float32 [1, grid tokens, latent channels] on the CPU;
  // `seed` draws the probes. `after_step` may end it early by an error.
  Result<void> add_sensitivity(const models::JobConstants& constants, const Tensor& noise, std::uint64_t seed,
                               const AfterStep& after_step);

  // The same for the moments, after all of the sensitivity.
  Result<void> add_moments(const models::JobConstants& constants, const Tensor& noise,
                           const AfterStep& after_step);

  const std::vector<CutSums>& sums() const { return sums_; }

  // The model that the jobs ran on.
  StageChain& chain() { return chain_; }

 private:
  Gatherer(StageChain chain, GatherSettings settings, const models::ModelInfo& info);

  Result<void> solve_responses();  // those that enough rows have been seen of
  void solve_loudness();

  struct Before;  // the step before
  using Visit = std::function<Result<void>(std::size_t step, const ChainStep& now, const at::Tensor& latents,
                                           const Before& before)>;
  Result<Tensor> run_job(const models::JobConstants& constants, const Tensor& noise, const Visit& visit,
                         const AfterStep& after_step);

  StageChain chain_;
  GatherSettings settings_;
  std::int64_t latent_channels_;
  std::vector<CutSums> sums_;
  // [latent channels, d] by cut, stream and step: what senders will take out of g. Undefined until known.
  std::vector<std::vector<std::vector<at::Tensor>>> responses_;
  std::vector<std::vector<std::vector<LoudnessFit>>> fits_;  // by cut, stream and step
  at::Tensor metric_root_;                                   // undefined: 1
  double moment_jobs_ = 0;
};

}  // namespace pinion::calibration
