#include "pinion/codec/predictor_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pinion::codec {
namespace {

constexpr double kHighRateGain = 17.079;  // see rate_model.cc
constexpr std::size_t kTrials = 24;       // components whose own predictor is tried as the next set
constexpr std::size_t kSampled = 256;     // components on which a trial is judged
constexpr double kSetCostBits = 24;       // of one more set: its coefficients, and longer choices for some
constexpr int kRefinements = 2;

std::uint8_t nearest_older(double value) {
  return static_cast<std::uint8_t>(
      std::lround(std::clamp(value * kCoefficientOne + kOlderCoefficientZero, 0.0, double{kMaxCoefficient})));
}

Coefficients values_of(const PredictorSet& set) {
  return {static_cast<double>(set.coefficient(0)) / kCoefficientOne,
          static_cast<double>(set.coefficient(1)) / kCoefficientOne};
}

// The writable set nearest to a component's best: the second coefficient
// rounded, then the first made to fit it.
PredictorSet written(const Correlation& c) {
  PredictorSet set;
  set.written[1] = nearest_older(c.best()[1]);
  set.written[0] = nearest_coefficient(c.best_first(values_of(set)[1]));
  return set;
}

class Chooser {
 public:
  Chooser(std::span<const Correlation> correlations, double step, std::size_t rows)
      : correlations_(correlations), square_(step * step), rows_(static_cast<double>(rows)) {}

  std::vector<PredictorSet> run() {
    std::vector<PredictorSet> sets = {PredictorSet{}};
    std::vector<double> bits(correlations_.size());
    for (std::size_t k = 0; k < bits.size(); ++k) bits[k] = cost(k, sets.front());
    while (sets.size() < kMaxPredictors && add_best(sets, bits)) {
    }
    for (int i = 0; i < kRefinements; ++i) refine(sets);
    return sets;
  }

  std::size_t best_of(std::span<const PredictorSet> sets, std::size_t k) const {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < sets.size(); ++i) {
      if (const double bits = cost(k, sets[i]); bits < least) least = bits, best = i;
    }
    return best;
  }

 private:
  double cost(std::size_t k, const PredictorSet& set) const {
    return 0.5 * rows_ * std::log2(1 + kHighRateGain * correlations_[k].left_after(values_of(set)) / square_);
  }

  // Adds the set that saves most over all components, among those that suit the
  // worst served ones.
  bool add_best(std::vector<PredictorSet>& sets, std::vector<double>& bits) const {
    std::vector<std::size_t> order(bits.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::vector<double> regret(bits.size());
    for (std::size_t k = 0; k < bits.size(); ++k) regret[k] = bits[k] - cost(k, written(correlations_[k]));
    const std::size_t trials = std::min(kTrials, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(trials), order.end(),
                      [&](auto a, auto b) { return regret[a] > regret[b]; });
    const std::size_t stride = (bits.size() - 1) / kSampled + 1;
    PredictorSet best;
    double most = 0;
    for (std::size_t i = 0; i < trials; ++i) {
      const PredictorSet set = written(correlations_[order[i]]);
      double saved = std::max(0.0, regret[order[i]]);
      for (std::size_t k = 0; k < bits.size(); k += stride) {
        if (k != order[i]) saved += static_cast<double>(stride) * std::max(0.0, bits[k] - cost(k, set));
      }
      if (saved > most) most = saved, best = set;
    }
    if (most < kSetCostBits) return false;
    sets.push_back(best);
    for (std::size_t k = 0; k < bits.size(); ++k) bits[k] = std::min(bits[k], cost(k, best));
    return true;
  }

  // Moves every set to the best of those that chose it, each weighted by what
  // its residual is worth.
  void refine(std::vector<PredictorSet>& sets) const {
    std::vector<Correlation> pooled(sets.size());
    for (std::size_t k = 0; k < correlations_.size(); ++k) {
      const std::size_t chosen = best_of(sets, k);
      const Correlation& c = correlations_[k];
      const double weight = 1 / (c.left_after(values_of(sets[chosen])) + square_ / kHighRateGain);
      Correlation& sum = pooled[chosen];
      sum.own += weight * c.own;
      sum.between += weight * c.between;
      for (std::size_t i = 0; i < kMaxReferences; ++i) {
        sum.cross[i] += weight * c.cross[i];
        sum.square[i] += weight * c.square[i];
      }
    }
    for (std::size_t i = 1; i < sets.size(); ++i) {
      if (pooled[i].square[0] > 0) sets[i] = written(pooled[i]);
    }
  }

  std::span<const Correlation> correlations_;
  double square_;
  double rows_;
};

}  // namespace

void choose_predictors(std::span<const Correlation> correlations, double step, std::size_t rows,
                       ComponentParams& params) {
  const Chooser chooser(correlations, step, rows);
  const std::vector<PredictorSet> sets = Chooser(correlations, step, rows).run();
  std::vector<std::size_t> chosen;
  std::vector<std::size_t> uses(sets.size());
  for (std::size_t k = 0; k < correlations.size(); ++k) {
    chosen.push_back(chooser.best_of(sets, k));
    ++uses[chosen.back()];
  }
  // Small numbers are cheap to write: the most used sets come first, unused
  // ones not at all.
  std::vector<std::size_t> order(sets.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return uses[a] > uses[b]; });
  std::vector<std::uint8_t> place(sets.size());
  params.predictors.clear();
  for (const std::size_t i : order) {
    if (uses[i] == 0) continue;
    place[i] = static_cast<std::uint8_t>(params.predictors.size());
    params.predictors.push_back(sets[i]);
  }
  params.predictor_of.clear();
  for (const std::size_t i : chosen) params.predictor_of.push_back(place[i]);
}

}  // namespace pinion::codec
