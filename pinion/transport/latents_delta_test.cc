#include "pinion/transport/latents_delta.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "pinion/base/sha256.h"

namespace pinion::transport {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(LatentsDelta, AnExactPredictionCostsThreeBytes) {
  const std::vector<float> latents = random_floats(1000, 1);
  EXPECT_EQ(to_hex(encode_latents_delta(latents, latents)), "00e807");  // the example in docs/protocol.md
}

TEST(LatentsDelta, RestoresEveryBitPattern) {
  // All exponents and signs, NaN payloads, infinities and both zeros, against each other.
  std::vector<float> latents;
  std::vector<float> prediction;
  std::mt19937 generator(2);
  for (std::uint32_t top = 0; top < 0x10000; top += 7) {
    latents.push_back(std::bit_cast<float>((top << 16) | (static_cast<std::uint32_t>(generator()) & 0xffff)));
    prediction.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(generator())));
  }
  latents.insert(latents.end(), {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f});
  prediction.insert(prediction.end(), {-0.0f, 0.0f, -INFINITY, NAN, INFINITY, 1.0f});
  const Bytes delta = encode_latents_delta(latents, prediction);
  ASSERT_TRUE(apply_latents_delta(delta, prediction).ok());
  EXPECT_TRUE(same_bits(latents, prediction));
}

TEST(LatentsDelta, APredictionThatIsOffByRoundingCostsAboutAByteAnElement) {
  const std::vector<float> latents = random_floats(4096, 3);
  std::vector<float> prediction = latents;
  for (std::size_t i = 0; i < prediction.size(); i += 2) prediction[i] = std::nextafter(prediction[i], 9.0f);
  const Bytes delta = encode_latents_delta(latents, prediction);
  EXPECT_LE(delta.size(), latents.size() * 2);
  ASSERT_TRUE(apply_latents_delta(delta, prediction).ok());
  EXPECT_TRUE(same_bits(latents, prediction));
}

TEST(LatentsDelta, PredictionRoundsTwice) {
  // 2^-24 (1 + 2^-23) rounds to a tie in the sum when rounded first, but not when fused.
  std::mt19937 generator(4);
  std::vector<float> latents = random_floats(100'000, 5);
  const std::vector<float> velocity = random_floats(100'000, 6);
  std::vector<float> predicted(latents.size());
  predict_latents(latents, velocity, -0.0417f, predicted);
  std::size_t fused_differs = 0;
  for (std::size_t i = 0; i < latents.size(); ++i) {
    const volatile float product = -0.0417f * velocity[i];
    ASSERT_EQ(predicted[i], latents[i] + product);
    fused_differs += std::fma(-0.0417f, velocity[i], latents[i]) != predicted[i] ? 1 : 0;
  }
  EXPECT_GT(fused_differs, 0u) << "this test would not notice a fused multiply-add";
}

TEST(LatentsDelta, SamplerAndWorkerAgreeOverManySteps) {
  std::vector<float> sampler = random_floats(2048, 7);
  std::vector<float> worker = sampler;
  for (unsigned step = 0; step < 8; ++step) {
    const std::vector<float> velocity = random_floats(2048, 100 + step);
    predict_latents(sampler, velocity, -0.125f, sampler);
    predict_latents(worker, velocity, -0.125f, worker);
    const Bytes delta = encode_latents_delta(sampler, worker);
    EXPECT_LE(delta.size(), 3u);
    ASSERT_TRUE(apply_latents_delta(delta, worker).ok());
    ASSERT_TRUE(same_bits(sampler, worker));
  }
}

TEST(LatentsDelta, BrokenBytesAreErrors) {
  const auto applies = [](std::vector<unsigned> bytes, std::size_t elements) {
    Bytes delta;
    for (const unsigned byte : bytes) delta.push_back(static_cast<std::byte>(byte));
    std::vector<float> latents(elements);
    return apply_latents_delta(delta, latents).ok();
  };
  EXPECT_TRUE(applies({}, 0));
  EXPECT_TRUE(applies({2, 4}, 2));
  EXPECT_TRUE(applies({0, 2}, 2));
  EXPECT_FALSE(applies({}, 1));
  EXPECT_FALSE(applies({2}, 2));
  EXPECT_FALSE(applies({2, 4, 6}, 2));
  EXPECT_FALSE(applies({0}, 2));
  EXPECT_FALSE(applies({0, 0, 0, 2}, 2));
  EXPECT_FALSE(applies({0, 3}, 2));
  EXPECT_FALSE(applies({0x82, 0x00, 0, 1}, 2));                    // not the shortest form
  EXPECT_FALSE(applies({0xff, 0xff, 0xff, 0xff, 0x1f, 2}, 2));     // more than 32 bits
  EXPECT_FALSE(applies({0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 1));  // more than 5 bytes
}

}  // namespace
}  // namespace pinion::transport
