// closed_loop [--model M] [--cut N,N] [--steps N] [--coder NAME[:SETTING,...]]... [--json FILE]
//
// Bytes at equal picture. Every prompt is drawn once as the model draws it, then again for every coder at
// every setting with what crosses a cut coded and decoded at every step: the rest of the model gets the
// decoded state, the sampler the decoded velocity. What counts is how far the last picture is from the first.
// One process, no network; docs/benchmarks.md says how bytes are counted.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <thread>

#include "bench/loop/coder_list.h"
#include "bench/loop/planes_coder.h"
#include "bench/loop/run_loops.h"
#include "pinion/models/stage_flags.h"

namespace pinion::bench {
namespace {

struct Options {
  LoopRequest request;
  std::string device = "cpu", dtype = "auto", sampler = "euler", scope = "both";
  std::vector<double> psnrs{41, 48, 53};
  std::filesystem::path json;
};

// Those that this build and these options can run; raw and lossless tell about bytes, not pictures.
std::vector<std::string> usual_coders(const LoopRequest& request) {
  std::vector<std::string> coders;
  for (const std::string& family : coder_families()) {
    if (family == "raw" || family == "lossless") continue;
    if (family == "planes" && !make_planes_coder(1).ok()) continue;
    if (family == "calibrated" && request.calibration.empty()) continue;
    coders.push_back(family);
  }
  return coders;
}

Result<LoopRequest> to_request(const Options& options) {
  LoopRequest request = options.request;
  const auto wrong = [](const std::string& text) { return Error{Errc::kInvalidArgument, text, ""}; };
  PINION_TRY(request.stage, models::parse_stage_flags(options.device, options.dtype));
  PINION_TRY(request.sampler, parse_sampler(options.sampler));
  if (options.scope == "image") request.scopes = {LoopScope::kImage};
  if (options.scope == "whole") request.scopes = {LoopScope::kWhole};
  if (request.side < 16 || request.side % 16 != 0) return wrong("--size must be a multiple of 16");
  if (request.coders.empty()) request.coders = usual_coders(request);
  if (request.basis_prompts.empty()) request.basis_prompts = request.model / "prompts.txt";
  std::sort(request.cuts.begin(), request.cuts.end());
  return request;
}

void say_progress(const LoopProgress& at) {
  const LoopResult& first = at.results.front();
  double psnr = 0, model_ms = 0, coding_ms = 0;
  for (const LoopResult& result : at.results) {
    psnr += result.psnr_db / static_cast<double>(at.results.size());
    model_ms += result.model_ms;
    coding_ms += result.coding_ms;
  }
  const double left_s = at.elapsed_s / at.done * (at.total - at.done);
  fmt::print(
      stderr, "[{}/{}] cut {} {:<18} {:>6.2f} dB, model {:.1f} s, coding {:.1f} s; about {:.0f} s left\n",
      at.done, at.total, first.cut, first.setting.empty() ? first.family : first.family + ":" + first.setting,
      psnr, model_ms / 1000, coding_ms / 1000, left_s);
}

Result<void> run(const Options& options) {
  PINION_TRY(const LoopRequest request, to_request(options));
  const LoopConditions conditions = conditions_of(request);
  std::ofstream json;
  if (!options.json.empty()) {
    json.open(options.json);
    if (!json) return Error{Errc::kIo, options.json.string() + " cannot be written", ""};
  }
  std::vector<LoopResult> results;
  PINION_TRY_VOID(run_loops(request, [&](const LoopProgress& at) -> Result<void> {
    say_progress(at);
    results.insert(results.end(), at.results.begin(), at.results.end());
    if (!json.is_open()) return {};
    for (const LoopResult& result : at.results) json << to_json(result, conditions) << '\n';
    json.flush();
    if (!json) return Error{Errc::kIo, options.json.string() + " cannot be written", ""};
    return {};
  }));
  fmt::print("{}: {} steps of {} ({} evaluations), {}x{}, batch {}, sigma shift {}, LoRA shift {}, {} {}\n",
             conditions.model, conditions.steps, conditions.sampler, conditions.evaluations, conditions.side,
             conditions.side, conditions.batch, conditions.sigma_shift, conditions.lora_shift,
             conditions.device, conditions.dtype);
  print_tables(results, options.psnrs);
  return {};
}

void add_options(CLI::App& app, Options& options) {
  LoopRequest& request = options.request;
  app.add_option("--model", request.model, "A diffusers folder")->capture_default_str();
  app.add_option("--cut", request.cuts, "Cuts: N[,N]...")->delimiter(',')->capture_default_str();
  app.add_option("--steps", request.steps, "Sampler steps")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--size", request.side, "Side of the pictures in pixels")->capture_default_str();
  app.add_option("--prompts", request.prompts, "File, one prompt a line")->capture_default_str();
  app.add_option("--first-prompt", request.first_prompt, "Line to begin at, from 0")->capture_default_str();
  app.add_option("--count", request.count, "Prompts")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--lock-step", request.lock_step, "Prompts that run as one batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--batch", request.batch, "Pictures of a prompt, in one stream")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--seed", request.seed, "Of the first prompt's noise")->capture_default_str();
  app.add_option("--guidance", request.guidance, "For models that take it")->capture_default_str();
  app.add_option("--coder", request.coders,
                 "NAME or NAME:SETTING[,SETTING]..., repeatable: planes:QP, uniform-zstd:BITS, int8, int4, "
                 "pca-deflate:BITS, fidelity:DB, calibrated:DB, lossless, raw [all but the last two]");
  app.add_option("--calibration", request.calibration, "File of `pinion calibrate`, for calibrated");
  app.add_option("--basis-prompts", request.basis_prompts,
                 "What pca-deflate learns from, and fidelity from the first [prompts.txt of the model]");
  app.add_option("--basis-jobs", request.basis_jobs, "Jobs that it learns from")->capture_default_str();
  app.add_option("--scope", options.scope,
                 "image: only image rows are coded; whole: all that is sent; both: one after the other")
      ->check(CLI::IsMember({"image", "whole", "both"}))
      ->capture_default_str();
  app.add_option("--sampler", options.sampler, "euler, heun or ancestral")->capture_default_str();
  app.add_option("--sigma-shift", request.sigma_shift,
                 "Another schedule: level s becomes a s / (1 + (a-1) s)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--lora-shift", request.lora.scale,
                 "Random low-rank change of all block weights after calibration, relative to their norms")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  app.add_option("--lora-rank", request.lora.rank, "Its rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu or cuda:N")->capture_default_str();
  app.add_option("--dtype", options.dtype, "auto (fp32 on cpu, bf16 on cuda), fp32, bf16, fp16")
      ->capture_default_str();
  app.add_option("--threads", request.threads, "That code; a prompt each")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--output-snr", request.measures_output, "Measure the velocities' SNR too (takes longer)");
  app.add_option("--at", options.psnrs, "Picture PSNRs to read bytes off at")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--json", options.json, "File to write, a line for each prompt, coder and cut");
}

}  // namespace
}  // namespace pinion::bench

int main(int argc, char** argv) {
  const std::filesystem::path source = PINION_SOURCE_DIR;
  pinion::bench::Options options;
  options.request.model = source / "models" / "tiny-flux2";
  options.request.prompts = source / "bench" / "prompts.txt";
  options.request.cuts = {3};
  options.request.count = 2;
  options.request.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  CLI::App app("Bytes at equal picture: what crosses a cut, coded in many ways, in closed loop");
  pinion::bench::add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  const pinion::Result<void> done = pinion::bench::run(options);
  if (done.ok()) return 0;
  fmt::print(stderr, "error: {}\n", done.error().message());
  return 1;
}
