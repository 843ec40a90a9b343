#pragma once
// Jobs coded in closed loop, as a client and a worker would code them, with calibrations that never saw them:
// what that costs, and how much the errors weigh in the output (docs/calibration.md, steps 9 and 10).
//
// One object is used by one thread at a time.

#include "pinion/calibration/stage_chain.h"
#include "pinion/codec/calibrated/calibration.h"

namespace pinion::calibration {

struct TrialJob {
  models::JobConstants constants;  // one picture, without references
  Tensor noise;                    // float32 [1, grid tokens, latent channels] on the CPU
};

// One stream, summed over the jobs.
struct StreamTrial {
  std::string stream;
  double frame_bytes = 0;
  double elements = 0;
  // Energy, in the metric, of the velocity's error that comes from this stream alone, by step: as the frames
  // predicted it, and as the rest of the model answered, after the sender's correction; the latter stays 0 if
  // it was not asked for.
  std::vector<double> predicted, measured;
};

struct TrialResult {
  double target_db = 0;
  std::vector<StreamTrial> streams;  // in the order of the calibrations
  double output_snr_db = 0;  // in the metric, of the velocities as the sampler gets them, all streams coded
  std::vector<Tensor> latents;  // float32, after the last step of each job
};

class Trial {
 public:
  // `chain` is cut at its cut number `cut` and outlives this; `sigmas` are steps + 1 noise levels, those of
  // the calibrations' records, and `metric` is theirs (solve.h).
  Trial(StageChain& chain, std::size_t cut, std::vector<double> sigmas, at::Tensor metric)
      : chain_(chain), cut_(cut), sigmas_(std::move(sigmas)), metric_(std::move(metric)) {}

  // All streams coded for `target_db` together. `calibrations` are those of the cut: the state tensors in the
  // model's order, then the velocity. What comes from each stream alone (StreamTrial::measured) takes two
  // thirds longer. `after_step` may end it early by an error.
  using AfterStep = std::function<Result<void>(int step)>;
  enum class Measures { kAllTogether, kEachStream };
  Result<TrialResult> run(const std::vector<codec::Calibration>& calibrations, double target_db,
                          const std::vector<TrialJob>& jobs, Measures measures, const AfterStep& after_step);

  // The latents after the last step, uncoded.
  Result<Tensor> run_uncoded(const TrialJob& job, const AfterStep& after_step);

 private:
  StageChain& chain_;
  std::size_t cut_;
  std::vector<double> sigmas_;
  at::Tensor metric_;
};

// Makes the calibrations of states tell what was measured: scales the gain and the floor of each record by
// measured over predicted energy of its step. `trial` was run with them and measured each stream.
void correct(std::vector<codec::Calibration>& calibrations, const TrialResult& trial);

}  // namespace pinion::calibration
