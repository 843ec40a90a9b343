#include "pinion/codec/correlation.h"

#include <algorithm>
#include <cmath>

namespace pinion::codec {
namespace {

constexpr double kRidge = 1e-6;  // against references that say the same

}  // namespace

double Correlation::left_after(const Coefficients& c) const {
  const double linear = c[0] * cross[0] + c[1] * cross[1];
  const double quadratic = c[0] * c[0] * square[0] + c[1] * c[1] * square[1] + 2 * c[0] * c[1] * between;
  return std::max(0.0, own - 2 * linear + quadratic);
}

double Correlation::best_first(double second) const {
  return square[0] > 0 ? std::max(0.0, (cross[0] - second * between) / square[0]) : 0;
}

Coefficients Correlation::best() const {
  const double a = square[0] * (1 + kRidge);
  const double b = square[1] * (1 + kRidge);
  const double determinant = a * b - between * between;
  if (!(square[1] > 0) || !(determinant > 0)) return {best_first(0), 0};
  const double limit = 128.0 / kCoefficientOne;
  const double second = std::clamp((cross[1] * a - cross[0] * between) / determinant, -limit, limit);
  return {best_first(second), second};
}

std::vector<Correlation> correlate(const Projection& projection, const Prediction& prediction) {
  std::vector<Correlation> result;
  const std::size_t rows = projection.components.columns;
  for (std::size_t k = 0; k < projection.components.rows; ++k) {
    Correlation c;
    c.own = projection.variances[k];
    std::array<const std::int32_t*, kMaxReferences> before{};
    for (std::size_t i = 0; i < prediction.references(); ++i) {
      const std::vector<std::int32_t>& reference = prediction.previous->reference(i);
      if ((k + 1) * rows <= reference.size()) before[i] = reference.data() + k * rows;
    }
    const auto values = projection.components.row(k);
    const double n = static_cast<double>(rows);
    const double first = prediction.steps[0] / kStateOne;
    const double second = prediction.steps[1] / kStateOne;
    for (std::size_t r = 0; before[0] != nullptr && r < rows; ++r) {
      const double p = before[0][r] * first;
      c.cross[0] += values[r] * p / n;
      c.square[0] += p * p / n;
    }
    for (std::size_t r = 0; before[0] != nullptr && before[1] != nullptr && r < rows; ++r) {
      const double q = before[1][r] * second;
      c.cross[1] += values[r] * q / n;
      c.square[1] += q * q / n;
      c.between += before[0][r] * first * q / n;
    }
    result.push_back(c);
  }
  return result;
}

std::vector<double> predicted_variances(const Projection& projection, const Prediction& prediction) {
  std::vector<double> left;
  for (const Correlation& c : correlate(projection, prediction)) left.push_back(c.left_after(c.best()));
  return left;
}

std::uint8_t nearest_coefficient(double value) {
  return static_cast<std::uint8_t>(
      std::lround(std::clamp(value * kCoefficientOne, 0.0, double{kMaxCoefficient})));
}

}  // namespace pinion::codec
