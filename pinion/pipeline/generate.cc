#include "pinion/pipeline/generate.h"

#include <cstring>
#include <utility>

#include "pinion/base/stopwatch.h"
#include "pinion/models/sampling.h"
#include "pinion/models/vae.h"
#include "pinion/pipeline/euler.h"
#include "pinion/pipeline/job_inputs.h"
#include "pinion/pipeline/job_recorder.h"
#include "pinion/pipeline/model_folder.h"

namespace pinion::pipeline {
namespace {

constexpr int kPixelsPerToken = 16;
constexpr int kMaxSidePixels = 8192;
constexpr int kMaxSteps = 1000;
constexpr int kMaxBatch = 64;

Error wrong(std::string text, std::string hint = "") {
  return Error{Errc::kInvalidArgument, std::move(text), std::move(hint)};
}

Result<void> fill_in(GenerateRequest& request) {
  PINION_TRY(const ModelDefaults defaults, read_defaults(request.model));
  request.width = request.width.value_or(defaults.side_pixels);
  request.height = request.height.value_or(defaults.side_pixels);
  request.steps = request.steps.value_or(defaults.steps());
  request.guidance = request.guidance.value_or(defaults.guidance());
  request.dtype = request.dtype.value_or(request.device.is_cpu() ? DType::kF32 : DType::kBF16);
  for (const int side : {*request.width, *request.height}) {
    if (side < kPixelsPerToken || side > kMaxSidePixels || side % kPixelsPerToken != 0) {
      return wrong("--size " + std::to_string(*request.width) + "x" + std::to_string(*request.height) +
                   ": each side must be a multiple of 16 from 16 to 8192 pixels");
    }
  }
  if (*request.steps < 1 || *request.steps > kMaxSteps) return wrong("--steps must be from 1 to 1000");
  if (request.batch < 1 || request.batch > kMaxBatch) return wrong("--batch must be from 1 to 64");
  return {};
}

// The guidance branches of one job: one denoiser, or two whose velocities are combined.
struct Branches {
  std::unique_ptr<Denoiser> positive;
  std::unique_ptr<Denoiser> negative;  // null without two-pass guidance

  void cancel() const {
    positive->cancel();
    if (negative) negative->cancel();
  }
};

// negative + guidance * (positive - negative), as diffusers combines them.
Tensor guide(const Tensor& positive, const Tensor& negative, float guidance) {
  Tensor guided = Tensor::empty(DType::kF32, positive.shape());
  const auto* p = reinterpret_cast<const float*>(positive.view().data);
  const auto* n = reinterpret_cast<const float*>(negative.view().data);
  auto* out = reinterpret_cast<float*>(guided.mutable_data());
  for (std::int64_t i = 0; i < guided.elements(); ++i) out[i] = n[i] + guidance * (p[i] - n[i]);
  return guided;
}

Result<Tensor> evaluate(const Branches& branches, const DenoiseInput& input, float guidance,
                        DenoiseTrace& trace) {
  PINION_TRY(Tensor positive, branches.positive->velocity(input, trace));
  if (!branches.negative) return positive;
  DenoiseTrace second;
  PINION_TRY(const Tensor negative, branches.negative->velocity(input, second));
  trace.local_ms += second.local_ms;
  trace.remote_ms += second.remote_ms;
  trace.hops.insert(trace.hops.end(), std::make_move_iterator(second.hops.begin()),
                    std::make_move_iterator(second.hops.end()));
  return guide(positive, negative, guidance);
}

struct Denoised {
  Tensor latents;
  std::vector<StepReport> steps;
};

Result<Denoised> denoise(const GenerateRequest& request, const Branches& branches, const JobInputs& inputs,
                         std::string_view phase, const ProgressSink& progress, Cancellation& cancellation) {
  const Cancellation::Scope scope(cancellation, [&] { branches.cancel(); });
  const std::vector<double> sigmas = models::flux2_sigmas(inputs.positive.grid.tokens(), *request.steps);
  Denoised result{inputs.noise, {}};
  float delta = 0;
  for (int step = 0; step < *request.steps; ++step) {
    progress({phase, step, *request.steps});
    if (cancellation.cancelled())
      return Error{Errc::kCancelled, "interrupted at step " + std::to_string(step), ""};
    const Stopwatch watch;
    const auto at = static_cast<std::size_t>(step);
    const auto sigma = static_cast<float>(sigmas[at]);
    const std::vector<float> all_sigmas(static_cast<std::size_t>(request.batch), sigma);
    StepReport report{.step = step, .sigma = sigmas[at], .total_ms = 0, .trace = {}};
    const DenoiseInput input{.step = step,
                             .sigma = all_sigmas,
                             .delta_sigma = delta,
                             .latents = result.latents,
                             .noise = step == 0 ? inputs.noise_seed : std::nullopt};
    PINION_TRY(const Tensor velocity,
               evaluate(branches, input, static_cast<float>(*request.guidance), report.trace));
    delta = static_cast<float>(sigmas[at + 1]) - sigma;
    result.latents = euler_step(result.latents, velocity, delta);
    report.total_ms = watch.elapsed_ms();
    result.steps.push_back(std::move(report));
  }
  progress({phase, *request.steps, *request.steps});
  PINION_TRY_VOID(branches.positive->finish());
  if (branches.negative) PINION_TRY_VOID(branches.negative->finish());
  return result;
}

Result<Branches> begin_branches(PlacedModel& model, const JobInputs& inputs) {
  Branches branches;
  PINION_TRY(branches.positive, model.begin_job(inputs.positive));
  if (inputs.negative) {
    PINION_TRY(branches.negative, model.begin_job(*inputs.negative));
  }
  return branches;
}

// Null if nothing is to be recorded.
Result<std::unique_ptr<JobRecorder>> make_recorder(const GenerateRequest& request, int block_count) {
  if (request.record_cuts.empty()) return std::unique_ptr<JobRecorder>();
  if (!request.split.workers.empty()) {
    return wrong("--record shows the states of blocks in this process", "leave out --worker");
  }
  PINION_TRY(JobRecorder recorder, JobRecorder::create(request.record_cuts, block_count));
  return std::make_unique<JobRecorder>(std::move(recorder));
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.view().data, b.view().data, a.bytes()) == 0;
}

}  // namespace

Result<GenerateResult> generate(GenerateRequest request, const ProgressSink& progress,
                                Cancellation& cancellation) {
  const Stopwatch total;
  PINION_TRY_VOID(fill_in(request));
  PINION_TRY(const auto model, models::open_model(request.model));
  const models::StageOptions options{.device = request.device, .dtype = *request.dtype};
  GenerateResult result;
  PINION_TRY(const auto recorder, make_recorder(request, model->block_count()));

  progress({"connect", 0, 0});
  Stopwatch watch;
  PINION_TRY(PlacedModel placed, PlacedModel::place(*model, request.split, options));
  result.placement = placed.placement();
  result.workers = placed.workers();
  result.connect_ms = watch.lap_ms();

  progress({"text", 0, 0});
  PINION_TRY(const JobInputs inputs, prepare_inputs(request, model->info()));
  result.text_ms = watch.lap_ms();

  progress({"load", 0, 0});
  PINION_TRY(Branches branches, begin_branches(placed, inputs));
  if (recorder) branches.positive = recorder->around(std::move(branches.positive));
  result.local_weight_bytes = placed.local_weight_bytes();
  result.load_ms = watch.lap_ms();

  PINION_TRY(Denoised denoised, denoise(request, branches, inputs, "denoise", progress, cancellation));
  result.codec_choice = placed.codec_choice();
  if (result.codec_choice) {
    request.split.codec = result.codec_choice->profile();
    if (result.codec_choice->way_back)
      request.split.velocity_codec = result.codec_choice->way_back->profile();
  }
  if (recorder) {
    result.recorded.emplace();
    PINION_TRY(result.recorded->tensors, recorder->take());
    PINION_TRY(result.recorded->model_hash, model->content_hash());
  }
  watch.lap_ms();

  progress({"decode", 0, 0});
  PINION_TRY(const auto vae,
             models::open_vae(request.model, {.device = request.device, .dtype = DType::kF32}));
  PINION_TRY(const Tensor pixels, vae->decode(denoised.latents, inputs.positive.grid));
  result.pictures = to_pictures(pixels);
  result.decode_ms = watch.lap_ms();
  result.total_ms = total.elapsed_ms();

  if (request.compare_local) {
    PINION_TRY(PlacedModel whole, PlacedModel::place(*model, {}, options));
    PINION_TRY(const Branches unsplit, begin_branches(whole, inputs));
    watch.lap_ms();
    PINION_TRY(const Denoised reference,
               denoise(request, unsplit, inputs, "compare", progress, cancellation));
    Comparison comparison{.pictures = {},
                          .latents_identical = same_bytes(reference.latents, denoised.latents),
                          .local_ms = watch.lap_ms()};
    PINION_TRY(const Tensor local_pixels, vae->decode(reference.latents, inputs.positive.grid));
    result.local_pictures = to_pictures(local_pixels);
    for (std::size_t i = 0; i < result.pictures.size(); ++i) {
      comparison.pictures.push_back(compare(result.pictures[i], result.local_pictures[i]));
    }
    result.comparison = std::move(comparison);
  }
  result.latents = std::move(denoised.latents);
  result.grid = inputs.positive.grid;
  result.steps = std::move(denoised.steps);
  result.request = std::move(request);
  return result;
}

}  // namespace pinion::pipeline
