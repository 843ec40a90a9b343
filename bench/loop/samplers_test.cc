// Samplers on a field whose paths are known: x = (1 - sigma) picture + sigma noise for one picture has the
// velocity (x - picture) / sigma.

#include "bench/loop/samplers.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pinion::bench {
namespace {

constexpr float kPicture = 0.7f;
const std::vector<float> kSigmas{1, .8f, .5f, .2f, 0};

std::vector<float> velocity_at(std::span<const float> latents, float sigma) {
  std::vector<float> velocity;
  for (const float x : latents) velocity.push_back((x - kPicture) / sigma);
  return velocity;
}

// A curved field, dx/dsigma = x: x(sigma) = x(1) e^(sigma - 1).
double error_on_curve(SamplerKind kind) {
  Sampler sampler(kind, kSigmas, {1.0f}, 0);
  while (!sampler.done())
    sampler.advance(std::vector<float>(sampler.latents().begin(), sampler.latents().end()));
  return std::abs(sampler.latents()[0] - std::exp(-1.0));
}

TEST(Samplers, AllReachThePictureOfAStraightPath) {
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kHeun, SamplerKind::kAncestral}) {
    Sampler sampler(kind, kSigmas, {-1.5f, .3f, 2.0f}, 7);
    int evaluations = 0;
    for (; !sampler.done(); ++evaluations) sampler.advance(velocity_at(sampler.latents(), sampler.sigma()));
    EXPECT_EQ(evaluations, evaluation_count(kind, 4));
    for (const float x : sampler.latents()) EXPECT_NEAR(x, kPicture, 2e-6);
  }
}

TEST(Samplers, HeunAsksAtTheNextLevelToo) {
  Sampler sampler(SamplerKind::kHeun, kSigmas, {1.0f}, 0);
  std::vector<float> asked;
  while (!sampler.done()) {
    asked.push_back(sampler.sigma());
    sampler.advance(std::vector<float>{0.0f});
  }
  EXPECT_EQ(asked, (std::vector<float>{1, .8f, .8f, .5f, .5f, .2f, .2f}));
}

TEST(Samplers, HeunIsOfSecondOrder) {
  EXPECT_GT(error_on_curve(SamplerKind::kEuler), 0.05);
  EXPECT_LT(error_on_curve(SamplerKind::kHeun), 0.02);
}

// On the way the latents keep mean (1 - sigma) picture and deviation sigma.
TEST(Samplers, AncestralKeepsTheNoiseLevel) {
  std::vector<float> noise(20000);
  std::mt19937_64 engine(5);
  std::normal_distribution<float> normal;
  for (float& x : noise) x = normal(engine);
  Sampler sampler(SamplerKind::kAncestral, kSigmas, noise, 11);
  for (int step = 0; step < 2; ++step) sampler.advance(velocity_at(sampler.latents(), sampler.sigma()));
  const float sigma = sampler.sigma();
  ASSERT_EQ(sigma, .5f);
  double mean = 0, square = 0, with_first = 0;
  for (std::size_t i = 0; i < noise.size(); ++i) {
    const double x = sampler.latents()[i] - (1 - sigma) * kPicture;
    mean += x / static_cast<double>(noise.size());
    square += x * x / static_cast<double>(noise.size());
    with_first += x * noise[i] / static_cast<double>(noise.size());
  }
  // Three deviations of the estimates.
  EXPECT_NEAR(mean, 0, 3 * sigma / std::sqrt(20000.0));
  EXPECT_NEAR(std::sqrt(square), sigma, 3 * sigma / std::sqrt(2 * 20000.0));
  // Half and more of the noise is fresh.
  EXPECT_LT(with_first / sigma, 0.8);
}

TEST(Samplers, SeedsOfAncestralNoiseMatter) {
  const auto run = [](std::uint64_t seed) {
    Sampler sampler(SamplerKind::kAncestral, kSigmas, {1.0f}, seed);
    sampler.advance(std::vector<float>{0.1f});
    return sampler.latents()[0];
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

TEST(Samplers, Names) {
  EXPECT_EQ(*parse_sampler("heun"), SamplerKind::kHeun);
  EXPECT_FALSE(parse_sampler("dpm").ok());
}

}  // namespace
}  // namespace pinion::bench
