#include "pinion/pipeline/denoiser.h"

#include <utility>

#include "pinion/base/float_formats.h"
#include "pinion/base/stopwatch.h"

namespace pinion::pipeline {
namespace {

Result<Tensor> to_cpu_float(const Tensor& tensor) {
  PINION_TRY(const Tensor host, models::to_cpu(tensor));
  return as_float32(host);
}

models::StepInput front_input(const DenoiseInput& input) {
  return {.sigma = input.sigma, .state = {{"latents", input.latents}}};
}

class LocalDenoiser : public Denoiser {
 public:
  LocalDenoiser(std::shared_ptr<models::Stage> stage, std::unique_ptr<models::StageJob> job)
      : stage_(std::move(stage)), job_(std::move(job)) {}

  Result<Tensor> velocity(const DenoiseInput& input, DenoiseTrace& trace) override {
    const Stopwatch watch;
    PINION_TRY(const models::StepOutput output, job_->step(front_input(input), input.observer));
    PINION_ASSERT(output.size() == 1);
    PINION_TRY(Tensor velocity, to_cpu_float(output.front().tensor));
    trace.local_ms = watch.elapsed_ms();
    return velocity;
  }

 private:
  std::shared_ptr<models::Stage> stage_;  // declared before the job, which refers to it
  std::unique_ptr<models::StageJob> job_;
};

class SplitDenoiser : public Denoiser {
 public:
  SplitDenoiser(std::shared_ptr<models::Stage> front, std::unique_ptr<models::StageJob> front_job,
                std::unique_ptr<client::RemoteJob> remote)
      : front_(std::move(front)), front_job_(std::move(front_job)), remote_(std::move(remote)) {}

  Result<Tensor> velocity(const DenoiseInput& input, DenoiseTrace& trace) override {
    client::StepRequest request{.step = input.step,
                                .sigma = input.sigma,
                                .delta_sigma = input.delta_sigma,
                                .latents = input.latents,
                                .noise = input.noise,
                                .state = {}};
    if (front_job_ != nullptr) {
      const Stopwatch watch;
      PINION_TRY(const models::StepOutput state, front_job_->step(front_input(input), input.observer));
      for (const NamedTensor& entry : state) {
        PINION_TRY(Tensor host, models::to_cpu(entry.tensor));
        request.state.push_back({entry.name, std::move(host)});
      }
      trace.local_ms = watch.elapsed_ms();
    }
    PINION_TRY(client::RemoteStep step, remote_->step(request));
    trace.remote_ms = step.round_trip_ms;
    trace.hops = std::move(step.hops);
    return to_cpu_float(step.velocity);
  }

  Result<void> finish() override { return remote_->end(); }
  void cancel() override { remote_->cancel(); }

 private:
  std::shared_ptr<models::Stage> front_;
  std::unique_ptr<models::StageJob> front_job_;
  std::unique_ptr<client::RemoteJob> remote_;
};

client::RemoteConstants remote_constants(const models::JobConstants& constants, bool embeds_remotely) {
  client::RemoteConstants remote{.batch = constants.batch,
                                 .grid_height = constants.grid.height,
                                 .grid_width = constants.grid.width,
                                 .references = {},
                                 .text_tokens = constants.text_tokens,
                                 .guidance = constants.guidance,
                                 .context = {},
                                 .reference_latents = {}};
  for (const models::LatentGrid& grid : constants.references)
    remote.references.emplace_back(grid.height, grid.width);
  if (embeds_remotely) {
    remote.context = constants.context;
    remote.reference_latents = constants.reference_latents;
  }
  return remote;
}

}  // namespace

Result<std::unique_ptr<Denoiser>> make_local_denoiser(std::shared_ptr<models::Stage> stage,
                                                      const models::JobConstants& constants) {
  PINION_TRY(auto job, stage->begin_job(constants));
  return std::unique_ptr<Denoiser>(std::make_unique<LocalDenoiser>(std::move(stage), std::move(job)));
}

Result<std::unique_ptr<Denoiser>> make_split_denoiser(std::shared_ptr<models::Stage> front,
                                                      std::unique_ptr<client::RemoteJob> remote,
                                                      const models::JobConstants& constants) {
  std::unique_ptr<models::StageJob> front_job;
  if (front != nullptr) {
    PINION_TRY(front_job, front->begin_job(constants));
  }
  PINION_TRY_VOID(remote->begin(remote_constants(constants, front == nullptr)));
  return std::unique_ptr<Denoiser>(
      std::make_unique<SplitDenoiser>(std::move(front), std::move(front_job), std::move(remote)));
}

}  // namespace pinion::pipeline
