#include "pinion/codec/fidelity/step_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pinion::codec {
namespace {

constexpr double kErrorPerBit = 2 * 0.6931471805599453 / 12;  // squared steps that a bit saves elsewhere
constexpr double kStateRounding = 1.0 / (kStateOne * kStateOne * 12);  // squared steps, of a prediction
constexpr double kSureShare = 1.0 / 32;                                // of indices above 1: always worth it
constexpr std::size_t kModelledTogether = 64;  // components that are one piece of work
constexpr int kMaxSteps = 12;
constexpr double kTolerance = 0.002;  // of the error
constexpr double kJump = 0.05;        // distance from the target that tells of one

// What rebuilding `count` values at their centroid saves. Of a few values a class knows no centroid.
double squared_over(double sum, double count) { return count >= 4 ? sum * sum / count : 0; }

}  // namespace

double error_at_centroids(const BinSums& bins) {
  return bins.error - squared_over(bins.ones_excess, bins.ones) - squared_over(bins.more_excess, bins.more);
}

bool worth_coding(const BinSums& bins, std::size_t count, double weight) {
  const double ones = bins.ones, more = bins.more;
  const auto total = static_cast<double>(count);
  if (ones + more == 0) return false;
  if (more > kSureShare * total) return true;
  const double left = error_at_centroids(bins);
  const auto cost = [total](double n) { return n > 0 ? n * std::log2(total / n) : 0; };
  const double bits = cost(total - ones - more) + cost(ones) + cost(more) + ones + 3 * more;
  return weight * (bins.square - left) > kErrorPerBit * bits;
}

StepModel::StepModel(const ComponentSample& sample, std::span<const double> weights,
                     const ComponentParams& predictors, ChunkPool& pool)
    : pool_(pool),
      residuals_(sample.values),
      shifts_(sample.values.rows),
      weights_(weights.begin(), weights.end()) {
  weights_.resize(residuals_.rows, 1);
  std::vector<double> predicted(residuals_.rows);  // weights of those that are
  pool_.run_in_groups(residuals_.rows, kModelledTogether, [&](std::size_t k, std::size_t) {
    const auto row = residuals_.row(k);
    for (std::size_t i = 0; i < kMaxReferences; ++i) {
      if (sample.before[i].empty()) continue;
      const int coefficient = predictors.predictors[predictors.predictor_of[k]].coefficient(i);
      if (coefficient == 0) continue;
      predicted[k] = weights_[k];
      const float factor = static_cast<float>(coefficient) / kCoefficientOne;
      const auto before = sample.before[i].row(k);
      for (std::size_t r = 0; r < row.size(); ++r) row[r] -= factor * before[r];
      // The values themselves have no mean.
      shifts_[k] -= static_cast<double>(factor) * sample.before_means[i][k];
    }
    if (!sample.row_weights.empty()) shifts_[k] = static_cast<double>(dot(row, sample.row_weights));
    const auto shift = static_cast<float>(shifts_[k]);
    if (shift == 0) return;
    for (float& value : row) value -= shift;
  });
  predicted_ = std::accumulate(predicted.begin(), predicted.end(), 0.0);
}

double StepModel::error(double step) const {
  const auto inverse = static_cast<float>(1 / step);
  std::vector<double> errors(residuals_.rows);
  pool_.run_in_groups(residuals_.rows, kModelledTogether, [&](std::size_t k, std::size_t) {
    const BinSums bins = vector_loops().bins(residuals_.row(k).data(), inverse, residuals_.columns);
    const bool coded = coded_.empty() ? worth_coding(bins, residuals_.columns, weights_[k]) : coded_[k] != 0;
    errors[k] = weights_[k] * (coded ? error_at_centroids(bins) : bins.square);
  });
  const double rounding = predicted_ * static_cast<double>(residuals_.columns) * kStateRounding;
  const double sum = std::accumulate(errors.begin(), errors.end(), rounding);
  return sum * step * step / static_cast<double>(residuals_.columns);
}

double StepModel::step_for(double target, double start) const {
  // Secants of log error over log step, kept between the steps known to be too small and too large.
  double low = 0, high = 0;
  double step = start, last_step = 0, last_error = 0, best = start, best_distance = HUGE_VAL;
  for (int i = 0; i < kMaxSteps; ++i) {
    const double now = std::max(error(step), target * 1e-6);
    const double distance = std::abs(std::log(now / target));
    if (distance < best_distance) best = step, best_distance = distance;
    if (distance < kTolerance) break;
    double& bound = now < target ? low : high;
    bound = bound == 0 ? step : now < target ? std::max(low, step) : std::min(high, step);
    double slope = 1.5;
    if (last_step > 0 && last_step != step && last_error != now) {
      slope = std::clamp(std::log(now / last_error) / std::log(step / last_step), 0.3, 3.0);
    }
    last_step = step;
    last_error = now;
    step *= std::exp(std::clamp(std::log(target / now) / slope, -1.5, 1.5));
    if (low > 0 && high > 0 && !(step > low && step < high)) step = std::sqrt(low * high);
  }
  // Few values make the error jump; then it is well to stay below.
  return best_distance > kJump && low > 0 ? low : best;
}

}  // namespace pinion::codec
