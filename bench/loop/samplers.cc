#include "bench/loop/samplers.h"

#include <cmath>

#include "pinion/transport/latents_delta.h"

namespace pinion::bench {

Result<SamplerKind> parse_sampler(std::string_view name) {
  if (name == "euler") return SamplerKind::kEuler;
  if (name == "heun") return SamplerKind::kHeun;
  if (name == "ancestral") return SamplerKind::kAncestral;
  return Error{Errc::kInvalidArgument, "there is no sampler '" + std::string(name) + "'",
               "it is one of euler, heun, ancestral"};
}

int evaluation_count(SamplerKind kind, int steps) {
  return kind == SamplerKind::kHeun ? 2 * steps - 1 : steps;
}

Sampler::Sampler(SamplerKind kind, std::vector<float> sigmas, std::vector<float> noise, std::uint64_t seed)
    : kind_(kind), sigmas_(std::move(sigmas)), latents_(std::move(noise)), engine_(seed) {
  PINION_ASSERT(sigmas_.size() >= 2);
}

// As the product's sampler rounds it.
void Sampler::euler(std::span<const float> velocity, float sigma_next) {
  transport::predict_latents(latents_, velocity, sigma_next - sigmas_[step_], latents_);
}

void Sampler::advance(std::span<const float> velocity) {
  PINION_ASSERT(!done() && velocity.size() == latents_.size());
  const float sigma = sigmas_[step_], next = sigmas_[step_ + 1];
  if (in_heun_) {
    std::vector<float> mean(velocity.size());
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] = (first_velocity_[i] + velocity[i]) / 2;
    in_heun_ = false;
    euler(mean, next);
  } else if (kind_ == SamplerKind::kHeun && next > 0) {
    first_velocity_.assign(velocity.begin(), velocity.end());
    predicted_.resize(latents_.size());
    transport::predict_latents(latents_, velocity, next - sigma, predicted_);
    in_heun_ = true;
    return;
  } else if (kind_ == SamplerKind::kAncestral && next > 0) {
    // With down = next^2 / sigma: x(down) scaled by (1 - next) / (1 - down) has the picture's share right,
    // and noise of the variance that is missing from next^2 is added.
    const double down = static_cast<double>(next) * next / sigma;
    const double scale = (1 - next) / (1 - down);
    const double fresh =
        std::sqrt(std::max(0.0, static_cast<double>(next) * next - down * down * scale * scale));
    euler(velocity, static_cast<float>(down));
    std::normal_distribution<float> normal;
    for (float& x : latents_) x = static_cast<float>(scale * x + fresh * normal(engine_));
  } else {
    euler(velocity, next);
  }
  ++step_;
}

}  // namespace pinion::bench
