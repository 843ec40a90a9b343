#include "pinion/codec/fidelity/predictor_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "pinion/codec/math/fast_log.h"

namespace pinion::codec {
namespace {

constexpr float kGain = 17.079f;     // see rate_model.cc
constexpr std::size_t kTrials = 12;  // components whose own predictor is tried as the next set
constexpr double kSetCostBits = 20;  // of one more set at least
constexpr int kRefinements = 2;
constexpr int kAssignments = 3;

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

// Which set each component uses, as it will be written: the most used sets first, because small numbers are
// cheap.
struct Assignment {
  std::vector<std::uint8_t> set_of;  // component to place in `sets`
  std::vector<std::size_t> sets;     // places in the chooser's list
  double bits = std::numeric_limits<double>::infinity();
};

class Chooser {
 public:
  Chooser(std::span<const Correlation> correlations, double step, std::size_t rows)
      : correlations_(correlations),
        count_(correlations.size()),
        square_(step * step),
        half_rows_(0.5f * static_cast<float>(rows)) {
    for (std::vector<float>* list : {&own_, &cross_[0], &cross_[1], &squares_[0], &squares_[1], &between_}) {
      list->reserve(count_);
    }
    for (const Correlation& c : correlations) {
      own_.push_back(static_cast<float>(c.own / square_));
      between_.push_back(static_cast<float>(c.between / square_));
      for (std::size_t i = 0; i < kMaxReferences; ++i) {
        cross_[i].push_back(static_cast<float>(c.cross[i] / square_));
        squares_[i].push_back(static_cast<float>(c.square[i] / square_));
      }
    }
  }

  std::vector<PredictorSet> find_sets() const {
    std::vector<PredictorSet> sets = {PredictorSet{}};
    std::vector<float> bits = costs(sets.front());
    std::vector<PredictorSet> own_sets;
    std::vector<float> own_bits;
    for (const Correlation& c : correlations_) {
      own_sets.push_back(written(c));
      const auto left = static_cast<float>(c.left_after(values_of(own_sets.back())) / square_);
      own_bits.push_back(half_rows_ * fast_log2(1 + kGain * left));
    }
    while (sets.size() < kMaxPredictors && add_best(own_sets, own_bits, sets, bits)) {
    }
    for (int i = 0; i < kRefinements; ++i) refine(sets);
    return sets;
  }

  // The best assignment that uses only the first so many of the sets.
  Assignment assign(std::span<const PredictorSet> sets) const {
    std::vector<std::vector<float>> bits;
    for (const PredictorSet& set : sets) bits.push_back(costs(set));
    Assignment best;
    for (std::size_t count = 1; count <= sets.size(); count += count < 4 ? 1 : count / 3) {
      Assignment assignment = assign(std::span(bits).first(count));
      if (assignment.bits < best.bits) best = std::move(assignment);
    }
    return best;
  }

 private:
  // Bits of every component with one set.
  std::vector<float> costs(const PredictorSet& set) const {
    const Coefficients values = values_of(set);
    const auto a = static_cast<float>(values[0]), b = static_cast<float>(values[1]);
    std::vector<float> bits(count_);
    for (std::size_t k = 0; k < count_; ++k) {
      const float left = own_[k] - 2 * (a * cross_[0][k] + b * cross_[1][k]) + a * a * squares_[0][k] +
                         b * b * squares_[1][k] + 2 * a * b * between_[k];
      bits[k] = half_rows_ * fast_log2(1 + kGain * std::max(left, 0.0f));
    }
    return bits;
  }

  // Adds the set that saves most over all components, among those that suit the
  // worst served ones.
  bool add_best(std::span<const PredictorSet> own_sets, std::span<const float> own_bits,
                std::vector<PredictorSet>& sets, std::vector<float>& bits) const {
    std::vector<std::size_t> order(count_);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::size_t trials = std::min(kTrials, count_);
    const auto regret = [&](std::size_t k) { return bits[k] - own_bits[k]; };
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(trials), order.end(),
                      [&](auto i, auto j) { return regret(i) != regret(j) ? regret(i) > regret(j) : i < j; });
    std::size_t best = 0;
    double most = 0;
    for (const std::size_t trial : std::span(order).first(trials)) {
      if (regret(trial) <= 0) break;
      const std::vector<float> with = costs(own_sets[trial]);
      double saved = 0;
      for (std::size_t k = 0; k < count_; ++k) saved += std::max(0.0f, bits[k] - with[k]);
      if (saved > most) most = saved, best = trial;
    }
    if (most < kSetCostBits) return false;
    sets.push_back(own_sets[best]);
    const std::vector<float> with = costs(sets.back());
    for (std::size_t k = 0; k < count_; ++k) bits[k] = std::min(bits[k], with[k]);
    return true;
  }

  // Moves every set to the best of those that chose it, each weighted by what
  // its residual is worth.
  void refine(std::vector<PredictorSet>& sets) const {
    std::vector<std::vector<float>> bits;
    for (const PredictorSet& set : sets) bits.push_back(costs(set));
    std::vector<Correlation> pooled(sets.size());
    for (std::size_t k = 0; k < count_; ++k) {
      std::size_t chosen = 0;
      for (std::size_t i = 1; i < sets.size(); ++i) {
        if (bits[i][k] < bits[chosen][k]) chosen = i;
      }
      const Correlation& c = correlations_[k];
      const double weight = 1 / (c.left_after(values_of(sets[chosen])) + square_ / kGain);
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

  Assignment assign(std::span<const std::vector<float>> bits) const {
    constexpr int kRiceParameters = 4;
    Assignment assignment;
    std::vector<float> lengths(bits.size(), std::log2(static_cast<float>(bits.size())));
    for (int round = 0; round < kAssignments; ++round) {
      assignment.set_of.assign(count_, 0);
      assignment.bits = 0;
      std::vector<std::size_t> uses(bits.size());
      for (std::size_t k = 0; k < count_; ++k) {
        std::size_t chosen = 0;
        for (std::size_t i = 1; i < bits.size(); ++i) {
          if (bits[i][k] + lengths[i] < bits[chosen][k] + lengths[chosen]) chosen = i;
        }
        ++uses[chosen];
        assignment.set_of[k] = static_cast<std::uint8_t>(chosen);
        assignment.bits += bits[chosen][k];
      }
      assignment.sets.resize(bits.size());
      std::iota(assignment.sets.begin(), assignment.sets.end(), std::size_t{0});
      std::stable_sort(assignment.sets.begin(), assignment.sets.end(),
                       [&](auto i, auto j) { return uses[i] > uses[j]; });
      std::size_t least = std::numeric_limits<std::size_t>::max();
      for (int low_bits = 0; low_bits < kRiceParameters; ++low_bits) {
        std::size_t sum = 0;
        for (std::size_t place = 0; place < bits.size(); ++place) {
          sum +=
              uses[assignment.sets[place]] * ((place >> low_bits) + 1 + static_cast<std::size_t>(low_bits));
        }
        if (sum >= least) continue;
        least = sum;
        for (std::size_t place = 0; place < bits.size(); ++place) {
          lengths[assignment.sets[place]] =
              static_cast<float>((place >> low_bits) + 1) + static_cast<float>(low_bits);
        }
      }
      while (uses[assignment.sets.back()] == 0) assignment.sets.pop_back();
      assignment.bits +=
          static_cast<double>(least) + kSetCostBits * static_cast<double>(assignment.sets.size());
    }
    std::vector<std::uint8_t> place_of(bits.size());
    for (std::size_t place = 0; place < assignment.sets.size(); ++place) {
      place_of[assignment.sets[place]] = static_cast<std::uint8_t>(place);
    }
    for (std::uint8_t& set : assignment.set_of) set = place_of[set];
    return assignment;
  }

  std::span<const Correlation> correlations_;
  std::size_t count_;
  double square_;
  float half_rows_;
  std::vector<float> own_, between_;  // in squared steps
  std::array<std::vector<float>, kMaxReferences> cross_, squares_;
};

}  // namespace

void choose_predictors(std::span<const Correlation> correlations, double step, std::size_t rows,
                       ComponentParams& params) {
  const Chooser chooser(correlations, step, rows);
  const std::vector<PredictorSet> sets = chooser.find_sets();
  Assignment assignment = chooser.assign(sets);
  params.predictors.clear();
  for (const std::size_t set : assignment.sets) params.predictors.push_back(sets[set]);
  params.predictor_of = std::move(assignment.set_of);
}

}  // namespace pinion::codec
