// pinion generate: one job from prompt to PNG.

#include <fmt/core.h>

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>

#include "pinion/base/safetensors.h"
#include "pinion/cli/command.h"
#include "pinion/cli/generate_table.h"
#include "pinion/cli/interrupt.h"
#include "pinion/cli/progress_bar.h"
#include "pinion/cli/split_flags.h"
#include "pinion/models/stage_flags.h"
#include "pinion/pipeline/generate.h"
#include "pinion/pipeline/report.h"
#include "pinion/pipeline/trace.h"

namespace pinion::cli {
namespace {

struct Options {
  pipeline::GenerateRequest request;
  std::string size, device = "cpu", dtype = "auto";
  SplitFlags split;
  std::filesystem::path out = "pinion.png", out_latents, report, trace, record;
};

Error wrong(std::string text) {
  return Error{Errc::kInvalidArgument, std::move(text), "see pinion generate --help"};
}

Result<void> parse_size(const std::string& text, pipeline::GenerateRequest& request) {
  int width = 0, height = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, width);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != 'x')
    return wrong("--size '" + text + "' is not WIDTHxHEIGHT");
  const auto second = std::from_chars(first.ptr + 1, end, height);
  if (second.ec != std::errc{} || second.ptr != end)
    return wrong("--size '" + text + "' is not WIDTHxHEIGHT");
  request.width = width;
  request.height = height;
  return {};
}

Result<pipeline::GenerateRequest> to_request(const Options& options) {
  pipeline::GenerateRequest request = options.request;
  if (request.prompt.empty() && request.embeds.empty()) return wrong("give a --prompt, or --embeds");
  if (!options.size.empty()) PINION_TRY_VOID(parse_size(options.size, request));
  PINION_TRY(const models::StageOptions stage, models::parse_stage_flags(options.device, options.dtype));
  request.device = stage.device;
  request.dtype = stage.dtype;
  PINION_TRY(request.split, options.split.parse());
  if (options.record.empty() != request.record_cuts.empty())
    return wrong("--record FILE and --record-cut N go together");
  return request;
}

std::string_view phase_label(std::string_view phase) {
  if (phase == "text") return "reading the prompt";
  if (phase == "connect") return "opening the model";
  if (phase == "load") return "loading blocks";
  if (phase == "denoise") return "drawing";
  if (phase == "compare") return "drawing again without a split";
  return "decoding the picture";
}

// "fox.png", or "fox-1.png", "fox-2.png" … for a batch.
std::filesystem::path numbered(const std::filesystem::path& path, std::size_t index, std::size_t count) {
  if (count == 1) return path;
  std::filesystem::path file = path.stem();
  file += "-" + std::to_string(index + 1);
  file += path.extension();
  return path.parent_path() / file;
}

// [batch, channels, height, width], the layout that --latents and diffusers take.
Tensor latents_by_channel(const pipeline::GenerateResult& result) {
  const std::int64_t batch = result.latents.shape()[0], tokens = result.latents.shape()[1],
                     channels = result.latents.shape()[2];
  Tensor out = Tensor::empty(DType::kF32, {batch, channels, result.grid.height, result.grid.width});
  const auto* from = reinterpret_cast<const float*>(result.latents.view().data);
  auto* to = reinterpret_cast<float*>(out.mutable_data());
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t t = 0; t < tokens; ++t) *to++ = from[(b * tokens + t) * channels + c];
    }
  }
  return out;
}

Result<void> write_recorded(const std::filesystem::path& path, const pipeline::GenerateResult& result) {
  const pipeline::GenerateRequest& request = result.request;
  return write_safetensors(path, result.recorded->tensors,
                           {{"prompt", request.prompt},
                            {"seed", std::to_string(request.seed)},
                            {"width", std::to_string(*request.width)},
                            {"height", std::to_string(*request.height)},
                            {"grid_lines", std::to_string(result.grid.height)},
                            {"grid_columns", std::to_string(result.grid.width)},
                            {"model_hash", result.recorded->model_hash}});
}

Result<void> write_results(const Options& options, const pipeline::GenerateResult& result) {
  const nlohmann::ordered_json report = pipeline::to_json(result);
  nlohmann::ordered_json settings;
  for (const char* key : {"model", "width", "height", "steps", "guidance", "seed", "batch", "device", "dtype",
                          "codec", "velocity_codec"}) {
    if (report.contains(key)) settings[key] = report[key];
  }
  settings["cut"] = result.request.split.cut;
  for (std::size_t i = 0; i < result.pictures.size(); ++i) {
    const std::filesystem::path path = numbered(options.out, i, result.pictures.size());
    PINION_TRY_VOID(pipeline::write_png(path, result.pictures[i],
                                        {{"prompt", result.request.prompt},
                                         {"pinion", settings.dump()},
                                         {"Software", "Pinion " PINION_VERSION}}));
    fmt::print("{}\n", path.string());
  }
  if (!options.out_latents.empty()) {
    PINION_TRY_VOID(write_safetensors(options.out_latents, {{"latents", latents_by_channel(result)}}));
  }
  if (!options.report.empty()) PINION_TRY_VOID(write_file(options.report, as_bytes(report.dump(2) + "\n")));
  if (!options.trace.empty())
    PINION_TRY_VOID(write_file(options.trace, as_bytes(pipeline::to_trace(result).dump() + "\n")));
  if (result.recorded) PINION_TRY_VOID(write_recorded(options.record, result));
  return {};
}

int run(const Options& options) {
  auto request = to_request(options);
  if (!request.ok()) return report(request.error());
  pipeline::Cancellation cancellation;
  const InterruptWatch watch([&] { cancellation.cancel(); });
  auto result = [&] {
    ProgressBar bar;
    return pipeline::generate(
        std::move(request).value(),
        [&](const pipeline::Progress& at) { bar.show(phase_label(at.phase), at.done, at.total); },
        cancellation);
  }();
  if (!result.ok())
    return report(cancellation.cancelled() ? Error{Errc::kCancelled, "interrupted", ""} : result.error());
  fmt::print("{}", generate_table(*result));
  const auto written = write_results(options, *result);
  return written.ok() ? kDone : report(written.error());
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  pipeline::GenerateRequest& request = options->request;
  CLI::App* command = app.add_subcommand(
      "generate", "Draw a picture, with the model here, on workers, or split between them");
  command->add_option("--model", request.model, "Model: a diffusers folder")
      ->required()
      ->envname("PINION_MODEL");
  command->add_option("--prompt", request.prompt, "What to draw");
  command->add_option("--size", options->size,
                      "WIDTHxHEIGHT in pixels, multiples of 16 [the model's own size]");
  command->add_option("--steps", request.steps, "Sampler steps [4 for a distilled model, else 50]");
  command->add_option("--seed", request.seed, "Same seed, same picture")->capture_default_str();
  command->add_option("--guidance", request.guidance, "Guidance strength [1 for a distilled model, else 4]");
  command->add_option("--image", request.references, "Reference picture (PNG); repeat for more");
  command->add_option("--batch", request.batch, "Pictures to draw at once")->capture_default_str();
  command->add_option("--embeds", request.embeds,
                      "safetensors file with prompt_embeds, instead of the text encoder");
  command->add_option("--latents", request.latents,
                      "safetensors file with latents [batch, channels, h, w], instead of seeded noise");
  command->add_option("--device", options->device, "Where the client's blocks run: cpu or cuda:N")
      ->envname("PINION_DEVICE")
      ->capture_default_str();
  command
      ->add_option("--dtype", options->dtype,
                   "Compute dtype: auto (fp32 on cpu, bf16 on cuda), fp32, bf16, fp16")
      ->capture_default_str();
  options->split.add_to(*command);
  command->add_option("--out", options->out, "PNG to write; its text chunks hold prompt and settings")
      ->capture_default_str();
  command->add_option("--out-latents", options->out_latents, "safetensors file for the final latents");
  command->add_option("--report", options->report, "JSON file with every figure of the job");
  command->add_option("--trace", options->trace, "JSON timeline for chrome://tracing or Perfetto");
  command->add_option("--record", options->record,
                      "safetensors file for what crosses the cuts at every step, for `pinion codec`");
  command->add_option("--record-cut", request.record_cuts, "Cuts to record: N[,N]...")->delimiter(',');
  command->add_flag("--compare-local", request.compare_local,
                    "Run the job again without a split and compare the pictures");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pinion::cli
