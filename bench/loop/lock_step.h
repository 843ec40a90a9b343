#pragma once
// Jobs of one model in lock-step: one batch for the model, a thread for each job's coding. At every
// evaluation the state at a cut goes through a coder before the rest of the model gets it, and the velocity
// through the coder of the way back before the sampler gets it.
//
// One object is used by one thread at a time.

#include <optional>

#include "bench/loop/samplers.h"
#include "bench/loop/state_coder.h"
#include "pinion/calibration/stage_chain.h"

namespace pinion::bench {

struct LoopJob {
  Tensor context;  // text embeddings [1, tokens, channels]
  Tensor noise;    // float32 [pictures, grid tokens, latent channels] on the CPU; pictures as in the settings
  std::uint64_t seed = 0;
};

struct LockStepSettings {
  std::vector<int> cuts;       // the chain's
  std::vector<double> sigmas;  // steps + 1
  SamplerKind sampler = SamplerKind::kEuler;
  models::LatentGrid grid;
  int pictures = 1;  // of a job
  float guidance = 1;
  models::StageOptions stage;
  int threads = 1;
  bool measures_output = false;  // at the price of the rest of the model once more
};

// What is coded: the image rows alone and all else exact, or all that the coder's system sends.
enum class LoopScope { kImage, kWhole };

struct StreamTotal {
  std::string stream;
  double elements = 0;  // over all evaluations
  double frame_bytes = 0, basis_bytes = 0, index_bits = 0;
};

struct LoopedJob {
  std::vector<StreamTotal> streams;  // those that were coded
  double latents_bytes = 0;          // to tell the other side what the next latents are (kWhole, kVelocity)
  std::optional<double> output_snr_db;
};

struct LockStepRun {
  std::vector<LoopedJob> jobs;
  Tensor latents;  // after the last step, float32 [jobs * pictures, tokens, channels]
  double model_ms = 0, coding_ms = 0;
};

class LockStep {
 public:
  // `chain` and `info` outlive this.
  LockStep(calibration::StageChain& chain, const models::ModelInfo& info, LockStepSettings settings);

  Result<void> begin(std::vector<LoopJob> jobs);

  // Uncoded. `visit` sees every evaluation.
  using Visit = std::function<Result<void>(const calibration::ChainStep& step)>;
  Result<Tensor> run_uncoded(const Visit& visit);

  Result<LockStepRun> run(std::size_t cut, const StateCoder& coder, LoopScope scope);

 private:
  struct Coded;  // one job's coders and totals
  std::vector<Sampler> make_samplers() const;
  std::vector<float> sigma_of(const Sampler& sampler) const;
  Tensor latents_of(const std::vector<Sampler>& samplers) const;
  Result<std::vector<Coded>> open(std::size_t cut, const StateCoder& coder, LoopScope scope) const;

  calibration::StageChain& chain_;
  const models::ModelInfo& info_;
  LockStepSettings settings_;
  std::vector<LoopJob> jobs_;
};

}  // namespace pinion::bench
