#pragma once
// One model evaluation per sampler step, wherever the blocks run: the border between the sampler and the
// placement. One Denoiser serves one job (one prompt, one guidance branch) and one thread; cancel() is safe
// from any thread.

#include <memory>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/client/remote_job.h"
#include "pinion/models/stage.h"

namespace pinion::pipeline {

struct DenoiseInput {
  int step = 0;
  std::vector<float> sigma;                // one per batch item
  float delta_sigma = 0;                   // sigma minus the sigma of the step before; 0 at the first
  Tensor latents;                          // float32 [batch, grid tokens, latent channels]
  std::optional<client::NoiseSeed> noise;  // what they were drawn from, if they are just that
  models::BlockObserver observer = {};     // shown the states that enter this process's blocks
};

// Where the time and the bytes of one evaluation went.
struct DenoiseTrace {
  double local_ms = 0;                 // blocks that ran in this process
  double remote_ms = 0;                // round trip of the remote part, 0 if there is none
  std::vector<client::HopStats> hops;  // empty if nothing is remote
};

class Denoiser {
 public:
  virtual ~Denoiser() = default;

  // The velocity [batch, grid tokens, latent channels], float32 on the CPU.
  virtual Result<Tensor> velocity(const DenoiseInput& input, DenoiseTrace& trace) = 0;

  // Ends the job on every worker; a no-op for local ones.
  virtual Result<void> finish() { return {}; }
  virtual void cancel() {}
};

// All blocks in this process. `stage` covers the whole model and may be shared by denoisers that take turns.
Result<std::unique_ptr<Denoiser>> make_local_denoiser(std::shared_ptr<models::Stage> stage,
                                                      const models::JobConstants& constants);

// The first blocks in `front` (null when the first worker starts at block 0), the rest behind `remote`.
Result<std::unique_ptr<Denoiser>> make_split_denoiser(std::shared_ptr<models::Stage> front,
                                                      std::unique_ptr<client::RemoteJob> remote,
                                                      const models::JobConstants& constants);

}  // namespace pinion::pipeline
