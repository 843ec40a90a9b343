#include "bench/loop/run_loops.h"

#include <cmath>
#include <fstream>

#include "bench/loop/coder_list.h"
#include "bench/loop/pca_learning.h"
#include "bench/loop/scratch_folder.h"
#include "pinion/base/float_formats.h"
#include "pinion/base/stopwatch.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"
#include "pinion/models/vae.h"

namespace pinion::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kPixelsPerToken = 16;
constexpr int kLessons = 4;  // jobs that teach a coder that learns

Result<std::vector<std::string>> read_lines(const fs::path& path) {
  std::ifstream file(path);
  if (!file)
    return Error{Errc::kNotFound, path.string() + " cannot be read", "write prompts into it, one a line"};
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

// Jobs of lines [first, first + count) of a file; the lines must be there.
Result<std::vector<LoopJob>> make_jobs(const LoopRequest& request, const models::ModelInfo& info,
                                       models::TextEncoder& encoder, const fs::path& path, int first,
                                       int count, std::uint64_t seed) {
  PINION_TRY(const std::vector<std::string> prompts, read_lines(path));
  if (first < 0 || count < 1 || static_cast<std::size_t>(first) + count > prompts.size()) {
    return Error{Errc::kInvalidArgument,
                 path.string() + " has " + std::to_string(prompts.size()) + " prompts, not " +
                     std::to_string(count) + " from the one of number " + std::to_string(first),
                 ""};
  }
  const models::LatentGrid grid{request.side / kPixelsPerToken, request.side / kPixelsPerToken};
  std::vector<LoopJob> jobs;
  for (int i = first; i < first + count; ++i) {
    LoopJob& job = jobs.emplace_back();
    job.seed = seed + static_cast<std::uint64_t>(i);
    PINION_TRY(job.context, encoder.encode({prompts[static_cast<std::size_t>(i)]}));
    job.noise = models::initial_noise(job.seed, request.batch, info.latent_channels, grid);
  }
  return jobs;
}

std::vector<double> shifted_sigmas(const LoopRequest& request, models::LatentGrid grid) {
  std::vector<double> sigmas = models::flux2_sigmas(grid.tokens(), request.steps);
  const double a = request.sigma_shift;
  for (double& sigma : sigmas) sigma = a * sigma / (1 + (a - 1) * sigma);
  return sigmas;
}

// [-1, 1] is what is shown of a picture. Mean over the pictures [first, first + count).
double psnr_db(const Tensor& exact, const Tensor& other, std::size_t first, std::size_t count) {
  const auto* a = reinterpret_cast<const float*>(exact.view().data);
  const auto* b = reinterpret_cast<const float*>(other.view().data);
  const auto size = static_cast<std::size_t>(exact.elements() / exact.shape()[0]);
  double sum = 0;
  for (std::size_t p = first; p < first + count; ++p) {
    double squares = 0;
    for (std::size_t i = p * size; i < (p + 1) * size; ++i) {
      const double difference = std::clamp(a[i], -1.f, 1.f) - std::clamp(b[i], -1.f, 1.f);
      squares += difference * difference;
    }
    sum += 10 * std::log10(4 / std::max(squares / static_cast<double>(size), 1e-12));
  }
  return sum / static_cast<double>(count);
}

Result<codec::CalibrationSet> read_calibrations(const fs::path& path, models::Model& model) {
  if (path.empty()) return codec::CalibrationSet{};
  PINION_TRY(const std::string hash, model.content_hash());
  return codec::CalibrationSet::open(path, hash);
}

// The name of the state tensor that carries the picture.
Result<std::string> image_stream(const models::ModelInfo& info) {
  if (std::string name = info.picture_tensor(); !name.empty()) return name;
  return Error{Errc::kUnsupported, "no state tensor of this model follows the latents", ""};
}

LoopResult result_of(const LoopedJob& job, const NamedCoder& coder, LoopScope scope, const std::string& image,
                     const models::ModelInfo& info, int cut) {
  LoopResult result;
  result.family = coder.family;
  result.setting = coder.setting;
  result.cut = cut;
  result.scope = scope;
  result.output_snr_db = job.output_snr_db;
  for (const StreamTotal& total : job.streams) {
    if (scope == LoopScope::kImage && total.stream != image) continue;
    const bool returns_states =
        coder.coder->return_path() == ReturnPath::kStates && scope == LoopScope::kWhole;
    if (total.stream == image) {
      result.image_bytes = total.frame_bytes;
      result.image_bits = 8 * total.frame_bytes / total.elements;
      if (returns_states) result.return_bytes = total.frame_bytes;
    } else if (total.stream == "velocity") {
      result.return_bytes = total.frame_bytes;
    } else {
      result.text_bytes += total.frame_bytes * (returns_states ? 2 : 1);
    }
    result.basis_bytes += total.basis_bytes;
    if (total.index_bits > 0) {
      result.index_bits += total.index_bits;
      result.indexed_frame_bytes += total.frame_bytes;
    }
  }
  if (scope == LoopScope::kWhole) result.latents_bytes = job.latents_bytes;
  const auto asset = [&](const std::string& stream) {
    return static_cast<double>(coder.coder->asset_bytes({cut, stream, {}}));
  };
  result.image_asset_bytes = asset(image);
  result.asset_bytes = result.image_asset_bytes;
  if (scope == LoopScope::kWhole) {
    for (const models::StateTensorSchema& schema : info.state) {
      if (schema.name != image) result.asset_bytes += asset(schema.name);
    }
    result.asset_bytes += asset("velocity");
  }
  return result;
}

// Everything that stays for all runs.
struct Bench {
  const LoopRequest& request;
  const models::ModelInfo& info;
  models::LatentGrid grid;
  std::string image;
  LockStep& lock_step;
  models::Vae& vae;
  std::vector<NamedCoder> coders;
  const LoopSink& sink;
  LoopProgress progress;
  Stopwatch watch;

  // The scopes that one run of a coder tells about.
  std::vector<std::vector<LoopScope>> runs_of(const NamedCoder& coder) const {
    // Where states come back the other streams are exact, so that a run of all is a run of the image rows
    // too.
    if (coder.coder->return_path() == ReturnPath::kStates) return {request.scopes};
    std::vector<std::vector<LoopScope>> runs;
    for (const LoopScope scope : request.scopes) runs.push_back({scope});
    return runs;
  }

  void count_runs() {
    int chunks = (request.count + request.lock_step - 1) / request.lock_step;
    for (const NamedCoder& coder : coders) {
      progress.total += chunks * static_cast<int>(request.cuts.size() * runs_of(coder).size());
    }
  }

  Result<void> run(const NamedCoder& coder, std::size_t cut, const std::vector<LoopScope>& scopes,
                   const Tensor& pictures, int first_prompt) {
    const LoopScope scope =
        coder.coder->return_path() == ReturnPath::kStates ? LoopScope::kWhole : scopes.front();
    PINION_TRY(const LockStepRun looped, lock_step.run(cut, *coder.coder, scope));
    PINION_TRY(const Tensor drawn, vae.decode(looped.latents, grid));
    progress.results.clear();
    for (const LoopScope told : scopes) {
      for (std::size_t j = 0; j < looped.jobs.size(); ++j) {
        LoopResult result = result_of(looped.jobs[j], coder, told, image, info, request.cuts[cut]);
        result.prompt = first_prompt + static_cast<int>(j);
        const auto batch = static_cast<std::size_t>(request.batch);
        result.psnr_db = psnr_db(pictures, drawn, j * batch, batch);
        const auto share = static_cast<double>(looped.jobs.size() * scopes.size());
        result.model_ms = looped.model_ms / share;
        result.coding_ms = looped.coding_ms / share;
        progress.results.push_back(std::move(result));
      }
    }
    ++progress.done;
    progress.elapsed_s = watch.elapsed_ms() / 1000;
    return sink(progress);
  }

  Result<void> run_chunk(std::vector<LoopJob> jobs, int first_prompt) {
    PINION_TRY_VOID(lock_step.begin(std::move(jobs)));
    const auto no_visit = [](const calibration::ChainStep&) { return Result<void>(); };
    PINION_TRY(const Tensor latents, lock_step.run_uncoded(no_visit));
    PINION_TRY(const Tensor pictures, vae.decode(latents, grid));
    for (std::size_t cut = 0; cut < request.cuts.size(); ++cut) {
      for (const NamedCoder& coder : coders) {
        for (const std::vector<LoopScope>& scopes : runs_of(coder)) {
          PINION_TRY_VOID(run(coder, cut, scopes, pictures, first_prompt));
        }
      }
    }
    return {};
  }
};

// Jobs before those that count, one after another, for coders that keep what these taught them.
Result<void> teach(LockStep& lock_step, std::size_t cuts, const std::vector<LoopJob>& jobs,
                   std::vector<NamedCoder>& coders) {
  for (const LoopJob& job : jobs) {
    PINION_TRY_VOID(lock_step.begin({job}));
    for (const NamedCoder& coder : coders) {
      for (std::size_t cut = 0; cut < cuts && coder.coder->learns(); ++cut) {
        PINION_TRY_VOID(lock_step.run(cut, *coder.coder, LoopScope::kWhole));
      }
    }
  }
  for (NamedCoder& coder : coders) coder.coder->stop_learning();
  return {};
}

}  // namespace

LoopConditions conditions_of(const LoopRequest& request) {
  static constexpr std::string_view kSamplers[] = {"euler", "heun", "ancestral"};
  return {.model = fs::path(request.model / "").parent_path().filename().string(),
          .sampler = std::string(kSamplers[static_cast<int>(request.sampler)]),
          .device = name(request.stage.device),
          .dtype = std::string(name(request.stage.dtype)),
          .steps = request.steps,
          .evaluations = evaluation_count(request.sampler, request.steps),
          .side = request.side,
          .batch = request.batch,
          .sigma_shift = request.sigma_shift,
          .lora_shift = request.lora.scale};
}

Result<void> run_loops(const LoopRequest& request, const LoopSink& sink) {
  PINION_TRY(const auto calibrated_model, models::open_model(request.model));
  PINION_TRY(const codec::CalibrationSet calibrations,
             read_calibrations(request.calibration, *calibrated_model));
  const models::ModelInfo& info = calibrated_model->info();
  PINION_TRY(const std::string image, image_stream(info));

  std::vector<LoopJob> jobs, basis_jobs, first_jobs;
  {
    PINION_TRY(const auto encoder, models::open_text_encoder(request.model, request.stage));
    PINION_TRY(jobs, make_jobs(request, info, *encoder, request.prompts, request.first_prompt, request.count,
                               request.seed));
    if (names_family(request.coders, "fidelity")) {
      PINION_TRY(first_jobs, make_jobs(request, info, *encoder, request.basis_prompts, 0, kLessons, 0));
    }
    if (names_family(request.coders, kPca)) {
      PINION_TRY(basis_jobs,
                 make_jobs(request, info, *encoder, request.basis_prompts, 0, request.basis_jobs, 0));
    }
  }

  const ScratchFolder scratch;
  std::unique_ptr<models::Model> shifted;
  if (request.lora.scale > 0) {
    PINION_TRY_VOID(write_shifted_model(request.model, request.lora, scratch.path() / "model"));
    PINION_TRY(shifted, models::open_model(scratch.path() / "model"));
  }
  models::Model& model = shifted ? *shifted : *calibrated_model;
  PINION_TRY(auto chain,
             calibration::StageChain::load(model, request.cuts, request.stage, model.block_count()));
  PINION_TRY(const auto vae,
             models::open_vae(request.model, {.device = request.stage.device, .dtype = DType::kF32}));

  const models::LatentGrid grid{request.side / kPixelsPerToken, request.side / kPixelsPerToken};
  LockStep lock_step(chain, info,
                     {.cuts = request.cuts,
                      .sigmas = shifted_sigmas(request, grid),
                      .sampler = request.sampler,
                      .grid = grid,
                      .pictures = request.batch,
                      .guidance = request.guidance,
                      .stage = request.stage,
                      .threads = request.threads,
                      .measures_output = request.measures_output});
  PcaBases bases;
  if (!basis_jobs.empty()) {
    PINION_TRY(bases, learn_pca(lock_step, request.cuts, std::move(basis_jobs)));
  }
  PINION_TRY(std::vector<NamedCoder> coders, make_coders(request.coders, bases, calibrations));

  if (!first_jobs.empty()) PINION_TRY_VOID(teach(lock_step, request.cuts.size(), first_jobs, coders));

  Bench bench{request, info, grid, image, lock_step, *vae, std::move(coders), sink, {}, {}};
  bench.count_runs();
  for (std::size_t first = 0; first < jobs.size(); first += static_cast<std::size_t>(request.lock_step)) {
    const std::size_t end = std::min(jobs.size(), first + static_cast<std::size_t>(request.lock_step));
    PINION_TRY_VOID(bench.run_chunk(
        {jobs.begin() + static_cast<std::ptrdiff_t>(first), jobs.begin() + static_cast<std::ptrdiff_t>(end)},
        request.first_prompt + static_cast<int>(first)));
  }
  return {};
}

}  // namespace pinion::bench
