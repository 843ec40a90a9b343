#include "pinion/calibration/row_weights.h"

namespace pinion::calibration {
namespace {

constexpr double kRidge = 1e-3;  // times the mean variance of the inputs

}  // namespace

RowWeights::RowWeights(const std::vector<Moments>& steps, std::int64_t channels) {
  for (std::size_t t = 0; t < steps.size(); ++t) {
    const at::Tensor mean = steps[t].mean(), all = steps[t].covariance();
    const auto block = [&](std::int64_t row, std::int64_t column) {
      return all.narrow(0, row, channels).narrow(1, column, channels);
    };
    Step& step = steps_.emplace_back();
    step.mean = mean.narrow(0, 0, channels).to(at::kFloat);
    at::Tensor left = block(0, 0);
    if (t > 0) {
      const at::Tensor inputs = block(channels, channels), cross = block(channels, 0);
      const double lift = kRidge * inputs.diagonal().mean().item<double>();
      const at::Tensor predictor =
          at::linalg_solve(inputs + lift * at::eye(channels, inputs.options()), cross);
      left = left - 2 * predictor.t().matmul(cross) + predictor.t().matmul(inputs).matmul(predictor);
      step.before_mean = mean.narrow(0, channels, channels).to(at::kFloat);
      step.predictor = predictor.to(at::kFloat);
    }
    step.left = std::max(left.trace().item<double>(), 1e-30);
  }
}

at::Tensor RowWeights::of(std::size_t step, const at::Tensor& now, const at::Tensor& before) const {
  const Step& known = steps_[step];
  at::Tensor left = now - known.mean.to(now.device());
  if (known.predictor.defined()) {
    left = left - (before - known.before_mean.to(now.device())).matmul(known.predictor.to(now.device()));
  }
  return (left.pow(2).sum(1, true) / known.left).sqrt();
}

}  // namespace pinion::calibration
