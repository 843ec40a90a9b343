// Loudness learned from rows that tell it, and what it does to sums.

#include "pinion/calibration/row_loudness.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

namespace pinion::calibration {
namespace {

using at::Tensor;

constexpr std::int64_t kRows = 512, kChannels = 12;

// Rows whose loudness is 2^(row . direction), in octaves from -8 to 8 about, and gradients of that energy.
struct Heard {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  Tensor direction = normal({kChannels}) * 0.7;

  Tensor normal(at::IntArrayRef size) { return at::randn(size, generator, at::TensorOptions(at::kFloat)); }
  Tensor rows() { return normal({kRows, kChannels}) + 2; }
  Tensor octaves(const Tensor& rows) const { return rows.matmul(direction); }
  Tensor gradients(const Tensor& rows) {
    const Tensor white = normal({kRows, kChannels});
    return white / white.norm(2, 1, true) * at::exp2(octaves(rows) / 2).unsqueeze(1);
  }
};

TEST(Loudness, IsLearnedUpToAFactor) {
  Heard heard;
  LoudnessFit fit;
  for (int job = 0; job < 4; ++job) {
    const Tensor rows = heard.rows();
    fit.add(rows, 1e-4 * heard.gradients(rows));
  }
  const Tensor rows = heard.rows();
  const Tensor off = at::log2(fit.solve().of(rows)) - heard.octaves(rows);
  // What is below 2^-16 of the loudest row is not followed further down: a tenth of the rows, here.
  EXPECT_LT(off.std().item<double>(), 0.1 * heard.octaves(rows).std().item<double>());
}

TEST(Loudness, NoRowIsQuieterThanWhatErrorsCostElsewhere) {
  Heard heard;
  LoudnessFit fit(0.25);
  const Tensor group = at::arange(kRows).remainder(2).unsqueeze(1);  // every other row is silent
  const Tensor rows = at::cat({group, heard.normal({kRows, kChannels - 1})}, 1).to(at::kFloat);
  fit.add(rows, group * at::ones({1, kChannels}));
  // Those heard count 1 + .125, silent ones .125, the mean being one half.
  const Tensor octaves = at::log2(fit.solve().of(rows));
  const double apart = (octaves[1] - octaves[0]).item<double>();
  EXPECT_NEAR(apart, std::log2(9), 0.05);
}

TEST(Loudness, WithoutAnythingHeardRowsAreAlike) {
  Heard heard;
  const Tensor rows = heard.rows();
  LoudnessFit fit;
  EXPECT_TRUE(fit.solve().of(rows).equal(at::ones({kRows})));
  fit.add(rows, at::zeros({kRows, kChannels}));
  EXPECT_TRUE(fit.solve().of(rows).equal(at::ones({kRows})));
}

TEST(Loudness, StaysWithinTwentyOctaves) {
  const Loudness steep{at::zeros({1}, at::kDouble), at::ones({1}, at::kDouble), 0};
  const Tensor rows = at::tensor({-1e6f, -3.0f, 1e6f}).unsqueeze(1);
  EXPECT_TRUE(at::allclose(at::log2(steep.of(rows)), at::tensor({-20.0f, -3.0f, 20.0f})));
}

TEST(Moments, RowsCountByTheirWeights) {
  Heard heard;
  const Tensor rows = heard.rows(), weights = at::exp2(heard.octaves(rows));
  Moments moments;
  moments.add(rows.narrow(0, 0, 100), weights.narrow(0, 0, 100));
  moments.add(rows.narrow(0, 100, 412), weights.narrow(0, 100, 412));
  const Tensor w = (weights / weights.sum()).to(at::kDouble).unsqueeze(1), x = rows.to(at::kDouble);
  const Tensor mean = (w * x).sum(0);
  EXPECT_EQ(moments.count(), kRows);
  EXPECT_TRUE(at::allclose(moments.mean(), mean, 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(moments.covariance(), ((x - mean) * w).t().matmul(x - mean), 1e-4, 1e-4));
}

}  // namespace
}  // namespace pinion::calibration
