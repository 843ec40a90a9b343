#include "pinion/calibration/calibrate.h"

#include "pinion/calibration/asset.h"
#include "pinion/calibration/gather.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"

namespace pinion::calibration {
namespace {

using Progress = std::function<bool(const CalibrateProgress&)>;

Result<void> tell(const Progress& progress, const CalibrateProgress& at) {
  if (progress(at)) return {};
  return Error{Errc::kCancelled, "interrupted", ""};
}

Result<void> check(const CalibrateRequest& request) {
  const auto wrong = [](const char* text) { return Error{Errc::kInvalidArgument, text, ""}; };
  if (request.cuts.empty()) return wrong("there is no cut to calibrate");
  if (request.prompts.empty()) return wrong("there are no prompts to calibrate on");
  if (request.jobs < 1) return wrong("calibration needs at least one job");
  if (request.steps < 1 || request.steps > 255) return wrong("calibration takes 1 to 255 steps");
  if (request.grid.height < 1 || request.grid.width < 1) return wrong("the pictures have no pixels");
  if (request.image.components < 1 || request.other.components < 1)
    return wrong("components must be at least 1");
  return {};
}

Result<std::vector<Tensor>> encode_prompts(const CalibrateRequest& request) {
  PINION_TRY(const auto encoder, models::open_text_encoder(request.model, request.stage));
  std::vector<Tensor> contexts;
  for (std::size_t i = 0; i < std::min<std::size_t>(request.prompts.size(), request.jobs); ++i) {
    PINION_TRY(Tensor context, encoder->encode({request.prompts[i]}));
    contexts.push_back(std::move(context));
  }
  return contexts;
}

models::JobConstants constants_of(const CalibrateRequest& request, const models::ModelInfo& info,
                                  const Tensor& context) {
  models::JobConstants constants;
  constants.grid = request.grid;
  constants.text_tokens = context.shape()[1];
  constants.context = context;
  if (info.takes_guidance) constants.guidance = {request.guidance};
  return constants;
}

Result<Digest> digest_of(const std::string& hash) {
  PINION_TRY(const Bytes bytes, from_hex(hash));
  Digest digest;
  if (bytes.size() != digest.size()) return Error{Errc::kInternal, "the model's content hash is none", ""};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

Result<CutCalibration> solve_cut(const CutSums& sums, const CalibrateRequest& request, const Digest& model,
                                 std::int64_t latent_channels, std::span<const double> sigmas) {
  const auto output = std::find_if(sums.streams.begin(), sums.streams.end(),
                                   [](const StreamSums& stream) { return stream.schema.has_latent_rows; });
  if (output == sums.streams.end())
    return Error{Errc::kUnsupported, "no state tensor of this model follows the latents", ""};
  CutCalibration solved{sums.cut, {}};
  const auto add = [&](const StreamModel& stream, const std::string& name) {
    const codec::CalibrationKey key{model, static_cast<std::uint32_t>(sums.cut), name};
    solved.streams.push_back(to_asset(stream, key, sigmas));
  };
  for (const StreamSums& stream : sums.streams) {
    const SolveSettings& settings = stream.schema.has_latent_rows ? request.image : request.other;
    PINION_TRY(const StreamModel solved_stream, solve_state(stream, *output, latent_channels, settings));
    add(solved_stream, stream.schema.name);
  }
  PINION_TRY(const StreamModel velocity, solve_velocity(*output, latent_channels, request.image));
  add(velocity, "velocity");
  return solved;
}

}  // namespace

Result<std::vector<CutCalibration>> calibrate(const CalibrateRequest& request, const Progress& progress) {
  PINION_TRY_VOID(check(request));
  PINION_TRY_VOID(tell(progress, {"text", 0, 0}));
  PINION_TRY(const std::vector<Tensor> contexts, encode_prompts(request));
  PINION_TRY_VOID(tell(progress, {"load", 0, 0}));
  PINION_TRY(const auto model, models::open_model(request.model));
  PINION_TRY(const std::string hash, model->content_hash());
  PINION_TRY(const Digest digest, digest_of(hash));
  const std::int64_t latent_channels = model->info().latent_channels;
  const std::vector<double> sigmas = models::flux2_sigmas(request.grid.tokens(), request.steps);
  PINION_TRY(Gatherer gatherer,
             Gatherer::create(
                 *model,
                 {.cuts = request.cuts, .sigmas = sigmas, .probes = request.probes, .stage = request.stage}));
  const auto run_jobs = [&](std::string_view phase, int jobs, const auto& run) -> Result<void> {
    for (int job = 0; job < jobs; ++job) {
      const auto index = static_cast<std::size_t>(job);
      const auto after_step = [&](int) { return tell(progress, {phase, job, jobs}); };
      PINION_TRY_VOID(run(constants_of(request, model->info(), contexts[index % contexts.size()]),
                          models::initial_noise(request.seed + index, 1, latent_channels, request.grid),
                          after_step));
    }
    return tell(progress, {phase, jobs, jobs});
  };
  PINION_TRY_VOID(
      run_jobs("jobs", request.jobs, [&](const auto& constants, const auto& noise, const auto& step) {
        return gatherer.add_moments(constants, noise, step);
      }));
  std::uint64_t probe_seed = request.seed;
  PINION_TRY_VOID(run_jobs("sensitivity", (request.jobs + 1) / 2,
                           [&](const auto& constants, const auto& noise, const auto& step) {
                             return gatherer.add_sensitivity(constants, noise, ++probe_seed, step);
                           }));
  std::vector<CutCalibration> calibrations;
  for (const CutSums& sums : gatherer.sums()) {
    PINION_TRY_VOID(tell(progress, {"solve", 0, 0}));
    PINION_TRY(CutCalibration solved,
               solve_cut(sums, request, digest, latent_channels, std::span(sigmas).first(sigmas.size() - 1)));
    calibrations.push_back(std::move(solved));
  }
  return calibrations;
}

}  // namespace pinion::calibration
