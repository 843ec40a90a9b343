// What the tiny model's decoder shows of an error.

#include "pinion/calibration/picture_metric.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using models::from_torch;
using models::to_torch;

constexpr models::LatentGrid kGrid{6, 4};
constexpr std::int64_t kChannels = 128;

class PictureMetricTest : public ::testing::Test {
 protected:
  at::Tensor normal(const at::IntArrayRef shape) {
    return at::randn(shape, generator_, at::TensorOptions(at::kFloat));
  }
  at::Tensor decoded(const at::Tensor& latents) {
    return to_torch(vae_->decode(from_torch(latents), kGrid).value());
  }

  std::unique_ptr<models::Vae> vae_ =
      models::open_vae(std::string(PINION_SOURCE_DIR) + "/models/tiny-flux2", {}).value();
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(1);
  at::Tensor latents_ = normal({1, kGrid.tokens(), kChannels}) * 0.7;
};

TEST_F(PictureMetricTest, PullBackIsTheDerivativeOfDecode) {
  const at::Tensor cotangent = normal({1, 3, kGrid.height * 16, kGrid.width * 16});
  const Result<Tensor> pulled = vae_->pull_back(from_torch(latents_), kGrid, from_torch(cotangent));
  ASSERT_TRUE(pulled.ok()) << pulled.error().message();
  const at::Tensor direction = normal(latents_.sizes());
  const double step = 1e-3;
  const double difference = (decoded(latents_ + step * direction) - decoded(latents_ - step * direction))
                                .mul(cotangent)
                                .sum()
                                .item<double>() /
                            (2 * step);
  const double derivative = to_torch(*pulled).mul(direction).sum().item<double>();
  EXPECT_NEAR(derivative / difference, 1, 0.01);
  EXPECT_FALSE(vae_->pull_back(from_torch(latents_), kGrid, from_torch(latents_)).ok());
}

TEST_F(PictureMetricTest, TellsWhatErrorsDoToThePicture) {
  PictureMetric metric(*vae_);
  for (std::uint64_t seed = 0; seed < 24; ++seed)
    ASSERT_TRUE(metric.add(from_torch(latents_), kGrid, seed).ok());
  const at::Tensor seen = metric.mean(1);
  EXPECT_TRUE(at::allclose(seen, seen.t()));
  EXPECT_NEAR(seen.diagonal().mean().item<double>(), 1, 1e-9);
  const at::Tensor mixed = metric.mean(0.75);
  EXPECT_TRUE(at::allclose(mixed, 0.75 * seen + 0.25 * at::eye(kChannels, at::kDouble)));
  EXPECT_TRUE(at::allclose(metric.mean(0), at::eye(kChannels, at::kDouble)));

  // Errors along what is seen most and along what is seen hardly, against the pictures they make.
  const auto [values, vectors] = at::linalg_eigh(seen);
  const at::Tensor picture = decoded(latents_), shown = picture.abs() <= 1;
  const auto energy = [&](std::int64_t begin) {
    const at::Tensor some = vectors.narrow(1, begin, 8).to(at::kFloat);
    const at::Tensor error = 1e-2 * normal({1, kGrid.tokens(), 8}).matmul(some.t());
    const double changed =
        ((decoded(latents_ + error) - picture) * shown).to(at::kDouble).pow(2).sum().item<double>();
    const at::Tensor rows = error[0].to(at::kDouble);
    return changed / rows.matmul(seen).mul(rows).sum().item<double>();
  };
  EXPECT_GT((values[kChannels - 1] / values[kChannels / 2]).item<double>(), 20);
  EXPECT_NEAR(energy(kChannels - 8) / energy(kChannels - 24), 1, 0.5);
}

}  // namespace
}  // namespace pinion::calibration
