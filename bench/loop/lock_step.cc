#include "bench/loop/lock_step.h"

#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "bench/loop/parallel_for.h"
#include "pinion/base/float_formats.h"
#include "pinion/base/stopwatch.h"
#include "pinion/models/torch_bridge.h"
#include "pinion/transport/latents_delta.h"

namespace pinion::bench {
namespace {

codec::TokenGrid token_grid(const models::LatentGrid& grid) {
  return {.lines = static_cast<std::size_t>(grid.height), .columns = static_cast<std::size_t>(grid.width)};
}

const std::string kVelocity = "velocity";

// Batch items [first, first + count) of a tensor on the CPU, in its own memory.
Tensor items_of(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> extents(tensor.shape().extents().begin(), tensor.shape().extents().end());
  const std::size_t item_bytes = tensor.bytes() / static_cast<std::size_t>(extents.front());
  extents.front() = count;
  return Tensor::copy_of({tensor.view().data + static_cast<std::size_t>(first) * item_bytes,
                          tensor.dtype(),
                          Shape(std::span<const std::int64_t>(extents)),
                          {}});
}

// Each tensor `times` times in a row, along the batch.
Tensor join(const std::vector<Tensor>& tensors, std::int64_t times) {
  std::vector<at::Tensor> parts;
  for (const Tensor& tensor : tensors) parts.insert(parts.end(), times, models::to_torch(tensor));
  return models::from_torch(at::cat(parts));
}

Tensor on_stage(const Tensor& tensor, const models::StageOptions& stage) {
  return models::from_torch(
      models::to_torch(tensor).to(models::to_torch(stage.device), models::to_torch(stage.dtype)));
}

double energy_of(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return sum;
}

// About the mean of each channel.
double centred_energy(std::span<const float> values, std::size_t channels) {
  std::vector<double> sums(channels);
  for (std::size_t i = 0; i < values.size(); ++i) sums[i % channels] += values[i];
  double of_means = 0;
  for (const double sum : sums) of_means += sum * sum;
  return energy_of(values) - of_means / (static_cast<double>(values.size()) / static_cast<double>(channels));
}

double difference_energy(std::span<const float> a, std::span<const float> b) {
  std::vector<float> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return energy_of(difference);
}

}  // namespace

struct LockStep::Coded {
  std::map<std::string, std::unique_ptr<StreamCoder>> coders;  // of the streams that are coded
  std::map<std::string, StreamTotal> totals;
  std::unique_ptr<StreamCoder> latents_coder;  // null: latents are told exactly
  Shape shape;                                 // of the latents
  bool counts_latents = false;
  double latents_bytes = 0, signal = 0, error = 0;
  // As both ends know them, of this evaluation and of the one before.
  std::vector<float> latents, previous_latents, velocity;
  // As the sampler has them, who gets the velocity corrected.
  std::vector<float> sampled, corrected;
  std::optional<float> sigma, previous_sigma;
  std::vector<float> correction;  // of the states of this evaluation; empty: none

  // The tensor as it arrives.
  Result<Tensor> pass(const std::string& stream, const Tensor& tensor, const codec::StepContext& context) {
    const auto coder = coders.find(stream);
    if (coder == coders.end()) return tensor;
    PINION_TRY(PassedTensor passed, coder->second->pass(tensor, context));
    StreamTotal& total = totals[stream];
    total.stream = stream;
    total.elements += static_cast<double>(tensor.elements());
    total.frame_bytes += passed.frame_bytes;
    total.basis_bytes += passed.basis_bytes;
    total.index_bits += passed.index_bits;
    if (!passed.correction.empty()) correction = std::move(passed.correction);
    return std::move(passed.received);
  }

  // The sampler's latents of the next evaluation. The seed says the first; where the sampler follows the
  // velocity that it got, the other side's latents follow the one that came; others are coded.
  Result<void> begin_evaluation(const Sampler& sampler) {
    const std::vector<float> now(sampler.latents().begin(), sampler.latents().end());
    std::vector<float> told = now;
    if (!velocity.empty()) {
      const float change = sampler.sigma() - *sigma;
      std::vector<float> own(now.size()), predicted(now.size());
      transport::predict_latents(sampled, corrected, change, own);
      const bool follows = transport::encode_latents_delta(now, own).size() < now.size();
      transport::predict_latents(latents, velocity, change, predicted);
      double bytes = 0;
      if (!follows && latents_coder != nullptr) {
        PINION_TRY(const PassedTensor passed, latents_coder->pass(Tensor::from_floats(now, shape), {}));
        told = floats_of(passed.received);
        bytes = passed.frame_bytes;
      } else {
        if (follows && (corrected != velocity || sampled != latents))
          for (std::size_t i = 0; i < now.size(); ++i) told[i] = predicted[i] + (now[i] - own[i]);
        bytes = static_cast<double>(transport::encode_latents_delta(told, predicted).size());
      }
      if (counts_latents) latents_bytes += bytes;
    }
    sampled = now;
    previous_latents = std::exchange(latents, std::move(told));
    previous_sigma = std::exchange(sigma, sampler.sigma());
    correction.clear();
    return {};
  }

  void take_velocity(std::vector<float> received) {
    velocity = std::move(received);
    corrected = velocity;
    for (std::size_t i = 0; i < correction.size(); ++i) corrected[i] += correction[i];
  }
};

LockStep::LockStep(calibration::StageChain& chain, const models::ModelInfo& info, LockStepSettings settings)
    : chain_(chain), info_(info), settings_(std::move(settings)) {}

Result<void> LockStep::begin(std::vector<LoopJob> jobs) {
  return models::caught([&]() -> Result<void> {
    jobs_ = std::move(jobs);
    std::vector<Tensor> contexts;
    for (const LoopJob& job : jobs_) contexts.push_back(job.context);
    models::JobConstants constants;
    constants.batch = static_cast<std::int64_t>(jobs_.size()) * settings_.pictures;
    constants.grid = settings_.grid;
    constants.context = join(contexts, settings_.pictures);
    constants.text_tokens = constants.context.shape()[1];
    if (info_.takes_guidance) {
      constants.guidance.assign(static_cast<std::size_t>(constants.batch), settings_.guidance);
    }
    return chain_.begin_job(constants);
  });
}

std::vector<Sampler> LockStep::make_samplers() const {
  const std::vector<float> sigmas(settings_.sigmas.begin(), settings_.sigmas.end());
  std::vector<Sampler> samplers;
  for (const LoopJob& job : jobs_)
    samplers.emplace_back(settings_.sampler, sigmas, floats_of(job.noise), job.seed);
  return samplers;
}

std::vector<float> LockStep::sigma_of(const Sampler& sampler) const {
  return std::vector<float>(jobs_.size() * static_cast<std::size_t>(settings_.pictures), sampler.sigma());
}

Tensor LockStep::latents_of(const std::vector<Sampler>& samplers) const {
  std::vector<float> all;
  for (const Sampler& sampler : samplers)
    all.insert(all.end(), sampler.latents().begin(), sampler.latents().end());
  return Tensor::from_floats(all, {static_cast<std::int64_t>(jobs_.size()) * settings_.pictures,
                                   settings_.grid.tokens(), info_.latent_channels});
}

Result<Tensor> LockStep::run_uncoded(const Visit& visit) {
  return models::caught([&]() -> Result<Tensor> {
    const c10::NoGradGuard no_grad;
    std::vector<Sampler> samplers = make_samplers();
    while (!samplers.front().done()) {
      PINION_TRY(const calibration::ChainStep step,
                 chain_.step(sigma_of(samplers.front()), latents_of(samplers)));
      PINION_TRY_VOID(visit(step));
      PINION_TRY(const Tensor velocity, models::to_cpu(step.velocity));
      for (std::size_t j = 0; j < samplers.size(); ++j) {
        const auto first = static_cast<std::int64_t>(j) * settings_.pictures;
        samplers[j].advance(floats_of(items_of(velocity, first, settings_.pictures)));
      }
    }
    return latents_of(samplers);
  });
}

Result<std::vector<LockStep::Coded>> LockStep::open(std::size_t cut, const StateCoder& coder,
                                                    LoopScope scope) const {
  const codec::TokenGrid grid = token_grid(settings_.grid);
  const bool returns_velocity = scope == LoopScope::kWhole && coder.return_path() == ReturnPath::kVelocity;
  const std::int64_t tokens = settings_.pictures * settings_.grid.tokens();
  std::vector<std::pair<std::string, std::int64_t>> streams;
  for (const models::StateTensorSchema& schema : info_.state) {
    if (schema.has_latent_rows) {
      streams.emplace_back(schema.name, tokens);
    } else if (scope == LoopScope::kWhole) {
      streams.emplace_back(schema.name, settings_.pictures * jobs_.front().context.shape()[1]);
    }
  }
  if (returns_velocity) streams.emplace_back(kVelocity, tokens);
  std::vector<Coded> jobs(jobs_.size());
  for (Coded& job : jobs) {
    for (const auto& [stream, rows] : streams) {
      PINION_TRY(job.coders[stream], coder.open({settings_.cuts[cut], stream, grid, streams}));
    }
    PINION_TRY(job.latents_coder, coder.open_latents());
    job.shape = {settings_.pictures, settings_.grid.tokens(), info_.latent_channels};
    job.counts_latents = returns_velocity;
  }
  return jobs;
}

Result<LockStepRun> LockStep::run(std::size_t cut, const StateCoder& coder, LoopScope scope) {
  return models::caught([&]() -> Result<LockStepRun> {
    const c10::NoGradGuard no_grad;
    LockStepRun result;
    std::vector<Sampler> samplers = make_samplers();
    PINION_TRY(std::vector<Coded> jobs, open(cut, coder, scope));
    const auto pictures = static_cast<std::int64_t>(settings_.pictures);
    const auto context_of = [&](std::size_t j) {
      return codec::StepContext{.sigma = *jobs[j].sigma,
                                .previous_sigma = jobs[j].previous_sigma,
                                .latents = jobs[j].latents,
                                .previous_latents = jobs[j].previous_latents,
                                .output_rows = pictures * settings_.grid.tokens(),
                                .grid = token_grid(settings_.grid)};
    };
    Stopwatch watch;
    while (!samplers.front().done()) {
      const std::vector<float> sigma = sigma_of(samplers.front());
      for (std::size_t j = 0; j < jobs.size(); ++j) PINION_TRY_VOID(jobs[j].begin_evaluation(samplers[j]));
      PINION_TRY(TensorList state, chain_.state_at(cut, sigma, latents_of(samplers)));
      std::optional<std::vector<float>> exact;
      if (settings_.measures_output) {
        PINION_TRY(const Tensor answer, chain_.velocity_from(cut, sigma, state));
        PINION_TRY(const Tensor host, models::to_cpu(answer));
        exact = floats_of(host);
      }
      for (NamedTensor& stream : state) {
        if (!jobs.front().coders.contains(stream.name)) continue;
        PINION_TRY(const Tensor host, models::to_cpu(stream.tensor));
        result.model_ms += watch.lap_ms();
        std::vector<Tensor> received(jobs.size());
        PINION_TRY_VOID(parallel_for(jobs.size(), settings_.threads, [&](std::size_t j) -> Result<void> {
          const Tensor sent = items_of(host, static_cast<std::int64_t>(j) * pictures, pictures);
          PINION_TRY(received[j], jobs[j].pass(stream.name, sent, context_of(j)));
          return {};
        }));
        result.coding_ms += watch.lap_ms();
        stream.tensor = on_stage(join(received, 1), settings_.stage);
      }
      PINION_TRY(const Tensor answer, chain_.velocity_from(cut, sigma, std::move(state)));
      PINION_TRY(const Tensor velocity, models::to_cpu(answer));
      result.model_ms += watch.lap_ms();
      PINION_TRY_VOID(parallel_for(jobs.size(), settings_.threads, [&](std::size_t j) -> Result<void> {
        const Tensor sent = items_of(velocity, static_cast<std::int64_t>(j) * pictures, pictures);
        PINION_TRY(const Tensor received, jobs[j].pass(kVelocity, sent, context_of(j)));
        Coded& job = jobs[j];
        job.take_velocity(floats_of(received));
        if (exact) {
          const auto own = std::span(*exact).subspan(j * job.velocity.size(), job.velocity.size());
          job.signal += centred_energy(own, static_cast<std::size_t>(info_.latent_channels));
          job.error += difference_energy(own, job.corrected);
        }
        samplers[j].advance(job.corrected);
        return {};
      }));
      result.coding_ms += watch.lap_ms();
    }
    for (Coded& job : jobs) {
      LoopedJob& looped = result.jobs.emplace_back();
      for (auto& [name, total] : job.totals) looped.streams.push_back(std::move(total));
      looped.latents_bytes = job.latents_bytes;
      if (settings_.measures_output)
        looped.output_snr_db = 10 * std::log10(job.signal / std::max(job.error, 1e-30 * job.signal));
    }
    result.latents = latents_of(samplers);
    return result;
  });
}

}  // namespace pinion::bench
