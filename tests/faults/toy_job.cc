#include "tests/faults/toy_job.h"

#include <algorithm>

#include "pinion/base/float_formats.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::test {
namespace {

constexpr std::uint64_t kSeed = 1;

float sigma_at(const ToyJobOptions& options, int step) {
  return 1.0f - static_cast<float>(step) / static_cast<float>(options.steps);
}

models::JobConstants local_constants(const ToyJobOptions& options) {
  models::JobConstants constants;
  constants.batch = options.batch;
  constants.grid = {options.grid, options.grid};
  constants.text_tokens = options.text_tokens;
  constants.context = toy_constants(options).context;
  return constants;
}

}  // namespace

client::RemoteConstants toy_constants(const ToyJobOptions& options) {
  client::RemoteConstants constants;
  constants.batch = options.batch;
  constants.grid_height = options.grid;
  constants.grid_width = options.grid;
  constants.text_tokens = options.text_tokens;
  constants.context = toy_noise(2, options.batch, kToyContextChannels, {1, options.text_tokens});
  return constants;
}

Result<client::RemotePlan> toy_plan(const ToyJobOptions& options) {
  PINION_TRY(const std::unique_ptr<models::Model> model, toy_backend().open(options.model));
  client::RemotePlan plan;
  PINION_TRY(plan.model_hash, model->content_hash());
  plan.model_label = options.model.string();
  plan.dtype = std::string(name(options.dtype));
  PINION_TRY(plan.state_profile, codec::parse_profile(options.codec));
  if (!options.velocity_codec.empty()) {
    PINION_TRY(plan.velocity_profile, codec::parse_profile(options.velocity_codec));
  }
  plan.auto_codec = options.auto_codec;
  int begin = options.cut;
  for (const auto& [address, end] : options.stages) {
    PINION_TRY(const client::WorkerAddress worker, client::parse_worker_address(address));
    plan.stages.push_back({worker, begin, end});
    begin = end;
  }
  return plan;
}

Result<ToyJobOutcome> run_toy_job(const ToyJobOptions& options) {
  PINION_TRY(const std::unique_ptr<models::Model> model, toy_backend().open(options.model));
  const bool is_remote = !options.stages.empty();
  const int front_end = is_remote ? options.cut : model->block_count();
  std::unique_ptr<models::Stage> front;
  std::unique_ptr<models::StageJob> front_job;
  if (front_end > 0) {
    PINION_TRY(front, model->load_stage({0, front_end}, {.device = {}, .dtype = options.dtype}));
    PINION_TRY(front_job, front->begin_job(local_constants(options)));
  }
  std::unique_ptr<client::RemoteJob> remote;
  if (is_remote) {
    PINION_TRY(const client::RemotePlan plan, toy_plan(options));
    PINION_TRY(remote, client::RemoteJob::open(plan, options.connect));
    PINION_TRY_VOID(remote->begin(toy_constants(options)));
  }

  ToyJobOutcome outcome;
  Tensor latents = toy_noise(kSeed, options.batch, kToyLatentChannels, {options.grid, options.grid});
  for (int step = 0; step < options.steps; ++step) {
    if (options.before_step) options.before_step(step);
    const float sigma = sigma_at(options, step);
    const std::vector<float> sigmas(static_cast<std::size_t>(options.batch), sigma);
    TensorList state{{"latents", latents}};
    if (front_job) {
      PINION_TRY(state, front_job->step({.sigma = sigmas, .state = state}));
    }
    Tensor velocity = state.front().tensor;
    if (remote) {
      client::StepRequest request;
      request.step = step;
      request.sigma = sigmas;
      request.delta_sigma = step == 0 ? 0 : sigma - sigma_at(options, step - 1);
      request.latents = latents;
      if (step == 0 && !options.generator.empty()) request.noise = {options.generator, kSeed};
      if (options.cut > 0) request.state = state;
      PINION_TRY(client::RemoteStep done, remote->step(request));
      velocity = done.velocity;
      outcome.steps.push_back(std::move(done));
    }
    std::vector<float> values = floats_of(latents);
    transport::predict_latents(values, floats_of(velocity), sigma_at(options, step + 1) - sigma, values);
    if (options.jitter != 0) {
      const std::vector<float> added =
          floats_of(toy_noise(kSeed + 1 + static_cast<std::uint64_t>(step), options.batch, kToyLatentChannels,
                              {options.grid, options.grid}));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += options.jitter * added[i];
    }
    latents = Tensor::from_floats(values, latents.shape());
  }
  if (remote) PINION_TRY_VOID(remote->end());
  outcome.latents = latents;
  return outcome;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::ranges::equal(a.view().span(), b.view().span());
}

}  // namespace pinion::test
