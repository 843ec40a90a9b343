#include "pinion/calibration/row_loudness.h"

#include <cmath>

#include "pinion/codec/calibrated/calibration.h"

namespace pinion::calibration {
namespace {

using codec::kMaxLoudness;

constexpr double kRidge = 1e-3;  // times the mean variance of the inputs
// Below this share of the loudest row's energy rows are as good as silent: how silent need not be learned.
constexpr double kSilent = 0x1p-16;

}  // namespace

at::Tensor Loudness::of(const at::Tensor& rows) const {
  const at::Tensor wide = rows.to(at::kFloat);
  if (!weights.defined()) return at::ones({rows.size(0)}, wide.options());
  const auto here = [&](const at::Tensor& tensor) { return tensor.to(wide.options()); };
  const at::Tensor octaves = (wide - here(mean)).matmul(here(weights)) + bias;
  return at::exp2(octaves.clamp(-kMaxLoudness, kMaxLoudness));
}

void LoudnessFit::add(const at::Tensor& rows, const at::Tensor& gradients) {
  at::Tensor energy = gradients.to(at::kFloat).pow(2).sum(1, true);
  energy = energy + elsewhere_ * energy.mean();
  const double loudest = energy.max().item<double>();
  if (!(loudest > 0) || !std::isfinite(loudest)) return;
  const at::Tensor share = (energy / loudest).clamp_min(kSilent);
  joined_.add(at::cat({rows.to(at::kFloat), at::log2(share)}, 1));
}

Loudness LoudnessFit::solve(at::Device device) const {
  if (joined_.count() == 0) return {};
  const at::Tensor mean = joined_.mean(), all = joined_.covariance(device);
  const std::int64_t d = mean.size(0) - 1;
  const at::Tensor inputs = all.narrow(0, 0, d).narrow(1, 0, d);
  const at::Tensor cross = all.narrow(0, 0, d).narrow(1, d, 1);
  const double lift = kRidge * inputs.diagonal().mean().item<double>();
  const at::Tensor weights = at::linalg_solve(inputs + lift * at::eye(d, inputs.options()), cross);
  return {mean.narrow(0, 0, d), weights.flatten().cpu(), mean[d].item<double>()};
}

}  // namespace pinion::calibration
