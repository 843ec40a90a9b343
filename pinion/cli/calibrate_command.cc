// pinion calibrate: statistics of a model's cuts, for `--codec calibrated`.

#include <fmt/core.h>

#include <atomic>
#include <fstream>

#include "pinion/base/file_io.h"
#include "pinion/base/stopwatch.h"
#include "pinion/calibration/calibrate.h"
#include "pinion/calibration/prompts.h"
#include "pinion/cli/command.h"
#include "pinion/cli/interrupt.h"
#include "pinion/cli/progress_bar.h"
#include "pinion/codec/container.h"
#include "pinion/models/stage_flags.h"
#include "pinion/pipeline/model_folder.h"

namespace pinion::cli {
namespace {

constexpr int kPixelsPerToken = 16;

struct Options {
  calibration::CalibrateRequest request;
  std::filesystem::path prompts, out;
  std::string device = "cpu", dtype = "auto";
  std::optional<int> steps, side;
  std::optional<double> guidance;
};

Error wrong(std::string text) {
  return Error{Errc::kInvalidArgument, std::move(text), "see pinion calibrate --help"};
}

// One prompt a line; empty lines do not count.
Result<std::vector<std::string>> read_prompts(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) return Error{Errc::kNotFound, path.string() + " cannot be read", ""};
  std::vector<std::string> prompts;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) prompts.push_back(line);
  }
  if (prompts.empty()) return wrong(path.string() + " holds no prompts: write one a line");
  return prompts;
}

Result<calibration::CalibrateRequest> to_request(const Options& options) {
  calibration::CalibrateRequest request = options.request;
  PINION_TRY(const pipeline::ModelDefaults defaults, pipeline::read_defaults(request.model));
  request.steps = options.steps.value_or(defaults.steps());
  request.guidance = static_cast<float>(options.guidance.value_or(defaults.guidance()));
  const int side = options.side.value_or(defaults.side_pixels);
  if (side < kPixelsPerToken || side % kPixelsPerToken != 0)
    return wrong("--size " + std::to_string(side) + " is not a multiple of 16");
  request.grid = {side / kPixelsPerToken, side / kPixelsPerToken};
  PINION_TRY(request.stage, models::parse_stage_flags(options.device, options.dtype));
  request.prompts = calibration::built_in_prompts();
  if (!options.prompts.empty()) {
    PINION_TRY(request.prompts, read_prompts(options.prompts));
  }
  request.cuts.insert(request.cuts.end(), request.worker_cuts.begin(), request.worker_cuts.end());
  std::sort(request.cuts.begin(), request.cuts.end());
  return request;
}

std::string_view phase_label(std::string_view phase) {
  if (phase == "text") return "reading the prompts";
  if (phase == "hash") return "hashing weights";
  if (phase == "load") return "loading blocks";
  if (phase == "pictures") return "asking what is seen";
  if (phase == "jobs") return "running jobs";
  if (phase == "sensitivity") return "asking what is heard";
  if (phase == "trials") return "trying it on other jobs";
  return "solving";
}

// Where the time went.
class PhaseTimes {
 public:
  // A phase begins or goes on.
  void enter(std::string_view phase) {
    leave();
    phase_ = phase;
  }

  // "time: 2.1 s reading the prompts, 40.3 s running jobs"
  std::string summary() {
    leave();
    std::string text;
    for (const auto& [label, ms] : phases_) {
      text += fmt::format("{}{:.1f} s {}", text.empty() ? "time: " : ", ", ms / 1000, label);
    }
    return text;
  }

 private:
  void leave() {
    const double ms = watch_.lap_ms();
    if (phase_.empty()) return;
    const std::string_view label = phase_label(phase_);
    auto known = std::ranges::find(phases_, label, &std::pair<std::string_view, double>::first);
    if (known == phases_.end()) known = phases_.insert(phases_.end(), {label, 0});
    known->second += ms;
  }

  std::vector<std::pair<std::string_view, double>> phases_;  // by label, in the order of their beginnings
  std::string phase_;
  Stopwatch watch_;
};

Result<std::size_t> write_assets(const std::filesystem::path& path,
                                 const std::vector<calibration::CutCalibration>& cuts) {
  std::vector<Bytes> assets;
  for (const calibration::CutCalibration& cut : cuts) {
    for (const codec::Calibration& stream : cut.streams) assets.push_back(codec::write_calibration(stream));
  }
  codec::Container container;
  container.calibrations.assign(assets.begin(), assets.end());
  const Bytes bytes = codec::write_container(container);
  PINION_TRY_VOID(write_file(path, bytes));
  return bytes.size();
}

// What the trials cost, so that a user can choose a target.
void print_expected(const calibration::CutCalibration& cut) {
  if (cut.expected.empty()) return;
  fmt::print("  target  bits an element:");
  for (const codec::Calibration& stream : cut.streams) fmt::print(" {:>8}", stream.key.stream);
  fmt::print("   bytes a job  output dB  picture dB (worst)\n");
  for (const calibration::ExpectedCost& cost : cut.expected) {
    fmt::print("  {:>3.0f} dB                  ", cost.target_db);
    for (const double bits : cost.bits_per_element) fmt::print(" {:>8.3f}", bits);
    fmt::print("   {:>11.0f}  {:>9.1f}", cost.job_bytes, cost.output_snr_db);
    if (cost.mean_psnr_db) fmt::print("  {:>10.1f} ({:.1f})", *cost.mean_psnr_db, *cost.worst_psnr_db);
    fmt::print("\n");
  }
}

int run(const Options& options) {
  const auto request = to_request(options);
  if (!request.ok()) return report(request.error());
  std::atomic<bool> stopped = false;
  const InterruptWatch watch([&] { stopped = true; });
  const Stopwatch total;
  PhaseTimes times;
  const auto cuts = [&] {
    ProgressBar bar;
    return calibration::calibrate(*request, [&](const calibration::CalibrateProgress& at) {
      times.enter(at.phase);
      bar.show(phase_label(at.phase), at.done, at.total);
      return !stopped;
    });
  }();
  if (!cuts.ok()) return report(cuts.error());
  const std::string time = times.summary();
  const auto bytes = write_assets(options.out, *cuts);
  if (!bytes.ok()) return report(bytes.error());
  for (const calibration::CutCalibration& cut : *cuts) {
    for (const codec::Calibration& stream : cut.streams) {
      fmt::print("cut {:<3} {:<9} {:>5} of {:>5} components, {} steps\n", cut.cut, stream.key.stream,
                 stream.components(), stream.channels(), stream.records.size());
    }
    print_expected(cut);
  }
  fmt::print("{}\n", time);
  fmt::print("{}: {} bytes in {:.1f} s. Use it: pinion generate --codec calibrated:30 --calibration {} ...\n",
             options.out.string(), *bytes, total.elapsed_ms() / 1000, options.out.string());
  return kDone;
}

}  // namespace

void add_calibrate_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  calibration::CalibrateRequest& request = options->request;
  CLI::App* command = app.add_subcommand(
      "calibrate", "Learn what the rest of a model hears at a cut, so that far fewer bytes cross it");
  command->add_option("--model", request.model, "Model: a diffusers folder")
      ->required()
      ->envname("PINION_MODEL");
  command->add_option("--cut", request.cuts, "Cuts to calibrate, across which the client sends: N[,N]...")
      ->delimiter(',');
  command
      ->add_option(
          "--worker-cut", request.worker_cuts,
          "Cuts between two workers of a chain, where nobody can take errors out of the velocity again")
      ->delimiter(',');
  command->add_option("--out", options->out, "File to write")->required();
  command->add_option("--prompts", options->prompts, "Text file, one prompt a line [varied ones built in]");
  command
      ->add_option("--jobs", request.jobs,
                   "Pictures to learn from [32 to 256: the more, the wider the model and the smaller they]")
      ->check(CLI::PositiveNumber);
  command->add_option("--trials", request.trials, "Further pictures that correct and check what was learned")
      ->capture_default_str();
  command->add_option("--targets", request.targets, "Output SNRs in dB to tell the cost of")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--steps", options->steps, "Sampler steps [the model's own]");
  command->add_option("--size", options->side, "Side of the pictures in pixels [the model's own]");
  command->add_option("--guidance", options->guidance, "Guidance strength [the model's own]");
  command->add_option("--seed", request.seed, "Of the first job's noise")->capture_default_str();
  command
      ->add_option("--picture-weight", request.picture_weight,
                   "How much errors count as they show in the picture, 0 (as errors of the velocity) to 1")
      ->capture_default_str();
  command->add_option("--components", request.image.components,
                      "Components of the image rows [as many as the targets take, at most 1024]");
  command->add_option("--text-components", request.other.components,
                      "Components of the text rows [likewise]");
  command->add_option("--device", options->device, "cpu or cuda:N")
      ->envname("PINION_DEVICE")
      ->capture_default_str();
  command
      ->add_option("--dtype", options->dtype,
                   "Compute dtype: auto (fp32 on cpu, bf16 on cuda), fp32, bf16, fp16")
      ->capture_default_str();
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pinion::cli
