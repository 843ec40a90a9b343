#pragma once
// A sampler of a few Euler steps over a toy model, local or remote, for comparing the two bit for bit.

#include "pinion/client/remote_job.h"
#include "tests/faults/toy_model.h"

namespace pinion::test {

struct ToyJobOptions {
  std::filesystem::path model;
  int cut = 0;                                        // blocks before it run here
  std::vector<std::pair<std::string, int>> stages{};  // worker address, and where its stage ends
  DType dtype = DType::kF32;
  std::string codec = "raw";
  std::string velocity_codec = "";                  // empty: what the codec leads to
  std::shared_ptr<client::AutoCodec> auto_codec{};  // if not null, instead of both
  int steps = 4;
  std::int64_t batch = 1;
  std::int64_t grid = 8;  // side, in tokens
  std::int64_t text_tokens = 5;
  float jitter = 0;  // what the sampler adds to its latents after each step, as some samplers add noise
  std::string generator = "";  // what the first latents are said to be drawn by; empty: nothing is said
  client::ConnectOptions connect{};
  std::function<void(int step)> before_step{};  // called before each
};

struct ToyJobOutcome {
  Tensor latents;  // after the last step
  std::vector<client::RemoteStep> steps;
};

// With stages: over the network. Without: all blocks here.
Result<ToyJobOutcome> run_toy_job(const ToyJobOptions& options);

// What run_toy_job opens and begins with, for tests that step on their own.
Result<client::RemotePlan> toy_plan(const ToyJobOptions& options);
client::RemoteConstants toy_constants(const ToyJobOptions& options);

bool same_bytes(const Tensor& a, const Tensor& b);

}  // namespace pinion::test
