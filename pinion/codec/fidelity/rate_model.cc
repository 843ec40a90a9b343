#include "pinion/codec/fidelity/rate_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace pinion::codec {
namespace {

constexpr double kLeftOutVariance = 0.16;  // squared steps: below, bits are better spent on other components
constexpr double kHighRateGain = 17.079;   // 2 pi e: entropy of a finely quantised Gauss variable
constexpr double kBasisPrecision = 0.7;    // basis rounding against a step's, where both cost the same
constexpr int kBisections = 32;

double error_of(const RateProblem& problem, double step) {
  double error = problem.outside;
  for (const RowGroup& group : problem.groups) {
    const double scale = group.size / (step * step);
    double sum = 0;
    for (const double variance : problem.variances) sum += model_error(variance * scale);
    error += group.share * step * step * sum;
  }
  return error;
}

}  // namespace

double model_bits(double variance) {
  return variance < kLeftOutVariance ? 0 : 0.5 * std::log2(1 + kHighRateGain * variance);
}

double model_error(double variance) {
  return variance < kLeftOutVariance ? variance : variance / (1 + 12 * variance);
}

RatePlan plan_rate(const RateProblem& problem) {
  if (problem.outside >= problem.target || problem.target <= 0) return {};
  double low = std::sqrt(problem.target) * 1e-4;  // as if 1e8 components shared the error
  double high = std::sqrt(problem.target) * 16;
  for (int i = 0; i < kBisections; ++i) {
    const double middle = std::sqrt(low * high);
    (error_of(problem, middle) > problem.target ? high : low) = middle;
  }
  RatePlan plan{low, 0};
  for (const RowGroup& group : problem.groups) {
    const double scale = group.size / (low * low);
    double sum = 0;
    for (const double variance : problem.variances) sum += model_bits(variance * scale);
    plan.bits += group.share * sum;
  }
  plan.bits *= static_cast<double>(problem.rows);
  return plan;
}

double basis_step(double variance, double step, std::size_t channels) {
  const double spread = std::max(std::sqrt(variance), 0.4 * step);
  return kBasisPrecision * step / (spread * std::sqrt(static_cast<double>(channels)));
}

BasisPlan plan_basis_of(const BasisProblem& problem, std::size_t components) {
  const auto leading = problem.variances.first(components);
  const double outside = problem.total_variance - std::accumulate(leading.begin(), leading.end(), 0.0);
  const RatePlan rate =
      plan_rate({leading, problem.groups, std::max(0.0, outside), problem.target, problem.rows});
  if (rate.step == 0) return {};
  double basis_bits = 0;
  for (const double variance : leading) {
    const double rounding = basis_step(variance, rate.step, problem.channels);
    const double deviation = 1 / (rounding * std::sqrt(static_cast<double>(problem.channels)));
    basis_bits +=
        static_cast<double>(problem.channels) * 0.5 * std::log2(1 + kHighRateGain * deviation * deviation);
  }
  return {components, rate, basis_bits};
}

BasisPlan plan_basis(const BasisProblem& problem) {
  constexpr std::size_t kCountsTried = 40;
  BasisPlan best;
  double least = std::numeric_limits<double>::infinity();
  std::size_t last = 0;
  for (std::size_t trial = 1; trial <= kCountsTried; ++trial) {
    const std::size_t count = trial * problem.variances.size() / kCountsTried;
    if (count == last) continue;
    last = count;
    const BasisPlan plan = plan_basis_of(problem, count);
    if (plan.components == 0) continue;
    if (const double total = plan.basis_bits + problem.frames * plan.rate.bits; total < least) {
      least = total;
      best = plan;
    }
  }
  return best;
}

}  // namespace pinion::codec
