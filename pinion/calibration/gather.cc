#include "pinion/calibration/gather.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "pinion/calibration/mean_response.h"
#include "pinion/calibration/symmetric_root.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using models::from_torch;
using models::to_torch;

// What a silent row counts beside one of mean loudness: so that it is still predicted.
constexpr double kLeastWeight = 0.2;
// What an error of even the quietest picture row makes of the latents that the other end expects costs bits
// in the next step: as much as this part of what an average row's error makes of the velocity.
constexpr double kQuietestCost = 0.2;
// Rows for each latent channel, after which the response that senders will take out is known well enough to
// learn from what it leaves how loud rows are.
constexpr std::int64_t kResponseRows = 8;

// [1, rows, channels] as float32 rows.
at::Tensor rows_of(const Tensor& tensor) { return to_torch(tensor).flatten(0, 1).to(at::kFloat); }

}  // namespace

struct Gatherer::Before {
  ChainStep step;
  at::Tensor latents;      // undefined before the first step
  double delta_sigma = 0;  // from that step to this one
};

Result<Gatherer> Gatherer::create(models::Model& model, GatherSettings settings) {
  PINION_TRY(StageChain chain,
             StageChain::load(model, settings.cuts, settings.stage, settings.max_stage_blocks));
  return Gatherer(std::move(chain), std::move(settings), model.info());
}

Gatherer::Gatherer(StageChain chain, GatherSettings settings, const models::ModelInfo& info)
    : chain_(std::move(chain)), settings_(std::move(settings)), latent_channels_(info.latent_channels) {
  const std::size_t steps = settings_.sigmas.size() - 1;
  for (const int cut : settings_.cuts) {
    const bool is_corrected = std::ranges::find(settings_.worker_cuts, cut) == settings_.worker_cuts.end();
    CutSums& sums = sums_.emplace_back(CutSums{cut, is_corrected, {}});
    auto& fits = fits_.emplace_back();
    responses_.emplace_back(info.state.size(), std::vector<at::Tensor>(steps));
    for (const models::StateTensorSchema& schema : info.state) {
      sums.streams.push_back({schema, std::vector<Moments>(steps), std::vector<Gram>(steps), {}, {}});
      fits.emplace_back(steps, LoudnessFit(schema.has_latent_rows ? kQuietestCost : 0));
    }
  }
}

Result<Tensor> Gatherer::run_job(const models::JobConstants& constants, const Tensor& noise,
                                 const Visit& visit, const AfterStep& after_step) {
  PINION_ASSERT(constants.batch == 1 && constants.references.empty());
  return models::caught([&]() -> Result<Tensor> {
    const c10::NoGradGuard no_grad;
    PINION_TRY_VOID(chain_.begin_job(constants));
    at::Tensor latents = rows_of(noise);
    Before before;
    for (std::size_t step = 0; step + 1 < settings_.sigmas.size(); ++step) {
      const double sigma = settings_.sigmas[step];
      PINION_TRY(ChainStep now, chain_.step({static_cast<float>(sigma)}, from_torch(latents.unsqueeze(0))));
      PINION_TRY_VOID(visit(step, now, latents, before));
      const double delta_sigma = settings_.sigmas[step + 1] - sigma;
      const at::Tensor velocity = rows_of(now.velocity).cpu();
      before = {std::move(now), latents, delta_sigma};
      latents = latents + velocity * delta_sigma;
      PINION_TRY_VOID(after_step(static_cast<int>(step)));
    }
    return from_torch(latents.unsqueeze(0));
  });
}

Result<Tensor> Gatherer::run(const models::JobConstants& constants, const Tensor& noise,
                             const AfterStep& after_step) {
  const Visit nothing = [](std::size_t, const ChainStep&, const at::Tensor&, const Before&) -> Result<void> {
    return {};
  };
  return run_job(constants, noise, nothing, after_step);
}

void Gatherer::set_metric(const at::Tensor& metric) { metric_root_ = symmetric_root(metric).to(at::kFloat); }

Result<void> Gatherer::add_sensitivity(const models::JobConstants& constants, const Tensor& noise,
                                       std::uint64_t seed, const AfterStep& after_step) {
  PINION_ASSERT(moment_jobs_ == 0);
  PINION_TRY_VOID(solve_responses());
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const Visit visit = [&](std::size_t step, const ChainStep& now, const at::Tensor&,
                          const Before&) -> Result<void> {
    TensorList probes;
    for (int i = 0; i < settings_.probes; ++i) {
      at::Tensor probe = at::randn(to_torch(now.velocity).sizes(), generator, at::TensorOptions(at::kFloat));
      if (metric_root_.defined()) probe = probe.matmul(metric_root_);
      probes.push_back({"probe", from_torch(probe)});
    }
    const auto add = [&](std::size_t cut, std::size_t probe, const TensorList& gradient) -> Result<void> {
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        StreamSums& stream = sums_[cut].streams[i];
        at::Tensor rows = rows_of(gradient[i].tensor);
        const at::Tensor states = rows_of(now.states[cut][i].tensor);
        if (stream.schema.has_latent_rows) {
          const at::Tensor outputs = rows_of(probes[probe].tensor).to(rows.device());
          if (const at::Tensor& response = responses_[cut][i][step]; response.defined()) {
            fits_[cut][i][step].add(states, rows - outputs.matmul(response));
          }
          rows = at::cat({rows, outputs}, 1);
        } else {
          fits_[cut][i][step].add(states, rows);
        }
        stream.sensitivity[step].add(rows);
      }
      return {};
    };
    return chain_.pull_back(probes, add);
  };
  PINION_TRY_VOID(run_job(constants, noise, visit, after_step));
  return {};
}

Result<void> Gatherer::solve_responses() {
  return models::caught([this]() -> Result<void> {
    const at::Device device = to_torch(settings_.stage.device);
    for (std::size_t cut = 0; cut < sums_.size(); ++cut) {
      for (std::size_t i = 0; i < sums_[cut].streams.size(); ++i) {
        const StreamSums& stream = sums_[cut].streams[i];
        for (std::size_t step = 0; step < stream.sensitivity.size(); ++step) {
          at::Tensor& response = responses_[cut][i][step];
          const Gram& seen = stream.sensitivity[step];
          if (!stream.schema.has_latent_rows || response.defined()) continue;
          if (seen.count() < kResponseRows * latent_channels_) continue;
          response = sums_[cut].is_corrected
                         ? mean_response(seen.mean(device), stream.schema.channels).to(at::kFloat)
                         : at::zeros({latent_channels_, stream.schema.channels}, device);
        }
      }
    }
    return {};
  });
}

void Gatherer::solve_loudness() {
  const at::Device device = to_torch(settings_.stage.device);
  for (std::size_t cut = 0; cut < sums_.size(); ++cut) {
    for (std::size_t i = 0; i < sums_[cut].streams.size(); ++i) {
      StreamSums& stream = sums_[cut].streams[i];
      for (const LoudnessFit& fit : fits_[cut][i]) stream.loudness.push_back(fit.solve(device));
      stream.mean_loudness.resize(stream.loudness.size());
    }
  }
}

Result<void> Gatherer::add_moments(const models::JobConstants& constants, const Tensor& noise,
                                   const AfterStep& after_step) {
  if (moment_jobs_ == 0) {
    PINION_TRY_VOID(models::caught([this]() -> Result<void> {
      solve_loudness();
      return {};
    }));
  }
  ++moment_jobs_;
  const Visit visit = [this](std::size_t step, const ChainStep& now, const at::Tensor& latents,
                             const Before& before) -> Result<void> {
    for (std::size_t cut = 0; cut < sums_.size(); ++cut) {
      for (std::size_t i = 0; i < sums_[cut].streams.size(); ++i) {
        StreamSums& stream = sums_[cut].streams[i];
        const at::Tensor state = rows_of(now.states[cut][i].tensor);
        std::vector<at::Tensor> parts{state};
        if (step > 0) parts.push_back(rows_of(before.step.states[cut][i].tensor));
        at::Tensor weights;
        if (stream.schema.has_latent_rows) {
          parts.push_back(latents);
          if (step > 0) parts.push_back((latents - before.latents) / before.delta_sigma);
          parts.push_back(rows_of(now.velocity));
        }
        const at::Tensor loudness = stream.loudness[step].of(state);
        const double mean = loudness.mean().item<double>();
        stream.mean_loudness[step] += (mean - stream.mean_loudness[step]) / moment_jobs_;
        if (!stream.schema.has_latent_rows) weights = loudness / mean + kLeastWeight;
        for (at::Tensor& part : parts) part = part.to(state.device());
        stream.steps[step].add(at::cat(parts, 1), weights);
      }
    }
    return {};
  };
  PINION_TRY_VOID(run_job(constants, noise, visit, after_step));
  return {};
}

}  // namespace pinion::calibration
