#include "pinion/calibration/calibrate.h"

#include "pinion/calibration/asset.h"
#include "pinion/calibration/gather.h"
#include "pinion/calibration/picture_metric.h"
#include "pinion/calibration/try_out.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"
#include "pinion/models/torch_bridge.h"
#include "pinion/models/vae.h"

namespace pinion::calibration {
namespace {

// How far below the error of the highest target, in dB, that must lie which no component can mend; it is
// found to be up to ten times what it is predicted to be.
constexpr double kBeyondTargets = 10;

// Pictures that tell how errors show: their pixels are many.
constexpr int kMetricJobs = 8;

// Rows for each channel that the pictures of all jobs are to have: with 48, frames of a model of 1024
// channels took 6 to 9 % more for the same picture, with twice as many 1 to 3 % less.
constexpr std::int64_t kRowsPerChannel = 112;
constexpr std::int64_t kFewestJobs = 32, kMostJobs = 256;

using Progress = std::function<bool(const CalibrateProgress&)>;

Result<void> tell(const Progress& progress, const CalibrateProgress& at) {
  if (progress(at)) return {};
  return Error{Errc::kCancelled, "interrupted", ""};
}

Result<void> check(const CalibrateRequest& request) {
  const auto wrong = [](const char* text) { return Error{Errc::kInvalidArgument, text, ""}; };
  if (request.cuts.empty()) return wrong("there is no cut to calibrate: give --cut");
  if (request.prompts.empty()) return wrong("there are no prompts to calibrate on");
  if (request.jobs < 0) return wrong("calibration needs at least one job");
  if (request.trials < 0) return wrong("there cannot be fewer than no trials");
  if (!(request.picture_weight >= 0 && request.picture_weight <= 1))
    return wrong("the weight of the picture is 0 to 1");
  for (const double target : request.targets) {
    if (!(target > 0 && target <= 100)) return wrong("a target is more than 0 and at most 100 dB");
  }
  if (request.steps < 1 || request.steps > 255) return wrong("calibration takes 1 to 255 steps");
  if (request.grid.height < 1 || request.grid.width < 1) return wrong("the pictures have no pixels");
  if (request.image.components < 0 || request.other.components < 0)
    return wrong("components must be at least 1, or 0 for as many as it takes");
  return {};
}

Result<std::vector<Tensor>> encode_prompts(const CalibrateRequest& request) {
  PINION_TRY(const auto encoder, models::open_text_encoder(request.model, request.stage));
  std::vector<Tensor> contexts;
  for (std::size_t i = 0; i < std::min<std::size_t>(request.prompts.size(), request.jobs + request.trials);
       ++i) {
    PINION_TRY(Tensor context, encoder->encode({request.prompts[i]}));
    contexts.push_back(std::move(context));
  }
  return contexts;
}

// The job of that number: the same prompt again once all were used, but never the same noise.
TrialJob job_of(const CalibrateRequest& request, const models::ModelInfo& info,
                const std::vector<Tensor>& contexts, std::size_t index) {
  models::JobConstants constants;
  constants.grid = request.grid;
  constants.context = contexts[index % contexts.size()];
  constants.text_tokens = constants.context.shape()[1];
  if (info.takes_guidance) constants.guidance = {request.guidance};
  return {constants, models::initial_noise(request.seed + index, 1, info.latent_channels, request.grid)};
}

Result<Digest> digest_of(const std::string& hash) {
  PINION_TRY(const Bytes bytes, from_hex(hash));
  Digest digest;
  if (bytes.size() != digest.size()) return Error{Errc::kInternal, "the model's content hash is none", ""};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

// Null: the model has none.
Result<std::unique_ptr<models::Vae>> open_vae(const CalibrateRequest& request) {
  auto vae = models::open_vae(request.model, {.device = request.stage.device, .dtype = DType::kF32});
  if (vae.ok() || vae.error().code != Errc::kNotFound) return vae;
  return std::unique_ptr<models::Vae>();
}

Result<CutCalibration> solve_cut(const CutSums& sums, const CalibrateRequest& request, const Digest& model,
                                 const at::Tensor& metric, std::span<const double> sigmas,
                                 at::Device device) {
  const auto output = std::find_if(sums.streams.begin(), sums.streams.end(),
                                   [](const StreamSums& stream) { return stream.schema.has_latent_rows; });
  if (output == sums.streams.end())
    return Error{Errc::kUnsupported, "no state tensor of this model follows the latents", ""};
  CutCalibration solved{sums.cut, {}, {}};
  const auto add = [&](const StreamModel& stream, const std::string& name) {
    const codec::CalibrationKey key{model, static_cast<std::uint32_t>(sums.cut), name};
    solved.streams.push_back(to_asset(stream, key, sigmas));
  };
  for (const StreamSums& stream : sums.streams) {
    SolveSettings settings = stream.schema.has_latent_rows ? request.image : request.other;
    settings.is_corrected = sums.is_corrected;
    if (!request.targets.empty()) {
      settings.reach_db = *std::max_element(request.targets.begin(), request.targets.end()) + kBeyondTargets;
    }
    PINION_TRY(const StreamModel solved_stream, solve_state(stream, *output, metric, settings, device));
    add(solved_stream, stream.schema.name);
  }
  PINION_TRY(const StreamModel velocity, solve_velocity(*output, metric, request.image, device));
  add(velocity, "velocity");
  return solved;
}

std::int64_t widest_state(const models::ModelInfo& info) {
  std::int64_t channels = 1;
  for (const models::StateTensorSchema& schema : info.state) channels = std::max(channels, schema.channels);
  return channels;
}

}  // namespace

int jobs_for(std::int64_t channels, std::int64_t picture_rows) {
  const std::int64_t jobs = (kRowsPerChannel * channels + picture_rows - 1) / picture_rows;
  return static_cast<int>(std::clamp(jobs, kFewestJobs, kMostJobs));
}

Result<std::vector<CutCalibration>> calibrate(const CalibrateRequest& given, const Progress& progress) {
  PINION_TRY_VOID(check(given));
  PINION_TRY(const auto model, models::open_model(given.model));
  CalibrateRequest request = given;
  if (request.jobs == 0) request.jobs = jobs_for(widest_state(model->info()), request.grid.tokens());
  PINION_TRY_VOID(tell(progress, {"text", 0, 0}));
  PINION_TRY(const std::vector<Tensor> contexts, encode_prompts(request));
  PINION_TRY_VOID(tell(progress, {"hash", 0, 0}));
  PINION_TRY(const std::string hash, model->content_hash());
  PINION_TRY(const Digest digest, digest_of(hash));
  PINION_TRY_VOID(tell(progress, {"load", 0, 0}));
  const std::vector<double> sigmas = models::flux2_sigmas(request.grid.tokens(), request.steps);
  PINION_TRY(Gatherer gatherer, Gatherer::create(*model, {.cuts = request.cuts,
                                                          .sigmas = sigmas,
                                                          .worker_cuts = request.worker_cuts,
                                                          .probes = request.probes,
                                                          .stage = request.stage}));
  const auto run_jobs = [&](std::string_view phase, int jobs, const auto& run) -> Result<void> {
    PINION_TRY_VOID(tell(progress, {phase, 0, jobs}));
    for (int job = 0; job < jobs; ++job) {
      const auto index = static_cast<std::size_t>(job);
      const auto after_step = [&](int) { return tell(progress, {phase, job, jobs}); };
      const TrialJob inputs = job_of(request, model->info(), contexts, index);
      PINION_TRY_VOID(run(inputs.constants, inputs.noise, after_step));
    }
    return tell(progress, {phase, jobs, jobs});
  };
  PINION_TRY(const auto vae, open_vae(request));
  at::Tensor metric = at::eye(model->info().latent_channels, at::kDouble);
  if (vae != nullptr && request.picture_weight > 0) {
    PictureMetric seen(*vae);
    std::uint64_t seed = request.seed;
    const auto add = [&](const auto& constants, const auto& noise, const auto& step) -> Result<void> {
      PINION_TRY(const Tensor latents, gatherer.run(constants, noise, step));
      return seen.add(latents, request.grid, ++seed);
    };
    PINION_TRY_VOID(run_jobs("pictures", std::min(request.jobs, kMetricJobs), add));
    metric = seen.mean(request.picture_weight);
    gatherer.set_metric(metric);
  }
  std::uint64_t probe_seed = request.seed;
  PINION_TRY_VOID(run_jobs("sensitivity", (request.jobs + 1) / 2,
                           [&](const auto& constants, const auto& noise, const auto& step) {
                             return gatherer.add_sensitivity(constants, noise, ++probe_seed, step);
                           }));
  PINION_TRY_VOID(
      run_jobs("jobs", request.jobs, [&](const auto& constants, const auto& noise, const auto& step) {
        return gatherer.add_moments(constants, noise, step);
      }));
  std::vector<TrialJob> trials;
  for (int i = 0; i < request.trials; ++i) {
    trials.push_back(job_of(request, model->info(), contexts, static_cast<std::size_t>(request.jobs + i)));
  }
  const auto steps = std::span(sigmas).first(sigmas.size() - 1);
  const auto cuts = static_cast<int>(request.cuts.size());
  const at::Device device = models::to_torch(request.stage.device);
  std::vector<CutCalibration> calibrations;
  for (int cut = 0; cut < cuts; ++cut) {
    const auto at = static_cast<std::size_t>(cut);
    PINION_TRY_VOID(tell(progress, {"solve", 0, 0}));
    auto solution = solve_cut(gatherer.sums()[at], request, digest, metric, steps, device);
    if (!solution.ok() && solution.error().code == Errc::kOutOfMemory && !device.is_cpu()) {
      solution = solve_cut(gatherer.sums()[at], request, digest, metric, steps, at::kCPU);
    }
    PINION_TRY(CutCalibration solved, std::move(solution));
    if (!trials.empty()) {
      Trial trial(gatherer.chain(), at, sigmas, metric);
      const int steps_of_all = try_out_steps(request, vae != nullptr);
      int step = 0;
      PINION_TRY_VOID(tell(progress, {"trials", step, steps_of_all}));
      const auto after_step = [&](int) { return tell(progress, {"trials", ++step, steps_of_all}); };
      PINION_TRY(solved.expected, try_out(trial, vae.get(), request, trials, after_step, solved.streams));
    }
    calibrations.push_back(std::move(solved));
  }
  return calibrations;
}

}  // namespace pinion::calibration
