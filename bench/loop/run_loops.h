#pragma once
// The whole of closed_loop but its options: loads a model once, draws each prompt's picture without coding,
// then again with the state at each cut coded in each way, and compares.

#include <filesystem>

#include "bench/loop/loop_results.h"
#include "bench/loop/lora_shift.h"

namespace pinion::bench {

struct LoopRequest {
  std::filesystem::path model;  // diffusers folder
  std::vector<int> cuts;        // rising
  int steps = 4;
  int side = 256;  // pixels
  std::filesystem::path prompts;
  int first_prompt = 0, count = 16;  // of the lines of the file
  int lock_step = 16;                // prompts at a time
  int batch = 1;                     // pictures of a prompt
  std::uint64_t seed = 500000;       // of the first prompt's noise; far from those of calibrations
  float guidance = 1;                // for models that take it
  std::vector<std::string> coders;   // as coder_list.h has them
  std::filesystem::path calibration;
  std::filesystem::path basis_prompts;  // that pca-deflate learns from, fidelity from the first
  int basis_jobs = 16;
  std::vector<LoopScope> scopes{LoopScope::kImage, LoopScope::kWhole};
  SamplerKind sampler = SamplerKind::kEuler;
  double sigma_shift = 1;  // a: every level s becomes a s / (1 + (a - 1) s)
  LoraShift lora;          // of the model after it was calibrated
  models::StageOptions stage;
  int threads = 1;
  bool measures_output = false;
};

// Called after each run of a coder over a lock-step of prompts, with its results, one a prompt.
struct LoopProgress {
  int done = 0, total = 0;  // runs
  double elapsed_s = 0;     // since the first began
  std::vector<LoopResult> results;
};
using LoopSink = std::function<Result<void>(const LoopProgress&)>;

// The conditions are known before the first run.
LoopConditions conditions_of(const LoopRequest& request);

Result<void> run_loops(const LoopRequest& request, const LoopSink& sink);

}  // namespace pinion::bench
