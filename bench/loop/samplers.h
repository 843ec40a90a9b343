#pragma once
// Samplers of flow models, as a job sees them: they ask for the velocity at latents and a noise level, again
// and again. One object is one job, used by one thread at a time.

#include <cstdint>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "pinion/base/result.h"

namespace pinion::bench {

enum class SamplerKind {
  kEuler,
  kHeun,  // Karras et al. 2022, algorithm 1 without churn: a second velocity at the next level, then the mean
          // of both; Euler at the last step
  kAncestral,  // Euler below the next level, then fresh noise up to it, so that x = (1 - sigma) picture +
               // sigma noise keeps its variances (eta 1)
};

Result<SamplerKind> parse_sampler(std::string_view name);

class Sampler {
 public:
  // `sigmas` are steps + 1 falling levels, at least two, the last 0 if any is; `seed` is of fresh noise.
  Sampler(SamplerKind kind, std::vector<float> sigmas, std::vector<float> noise, std::uint64_t seed);

  bool done() const { return step_ + 1 >= sigmas_.size(); }

  // Where the velocity is asked for next, unless done.
  float sigma() const { return in_heun_ ? sigmas_[step_ + 1] : sigmas_[step_]; }
  std::span<const float> latents() const { return in_heun_ ? predicted_ : latents_; }

  // The velocity there. After the last step latents() is the result.
  void advance(std::span<const float> velocity);

 private:
  void euler(std::span<const float> velocity, float sigma_next);

  SamplerKind kind_;
  std::vector<float> sigmas_;
  std::vector<float> latents_;
  std::size_t step_ = 0;
  bool in_heun_ = false;                           // the second velocity of this step is due
  std::vector<float> predicted_, first_velocity_;  // while it is
  std::mt19937_64 engine_;
};

// Evaluations of the model that a job of so many steps takes.
int evaluation_count(SamplerKind kind, int steps);

}  // namespace pinion::bench
