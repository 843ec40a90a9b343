#include "pinion/codec/calibrated/step_target.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "pinion/codec/calibrated/calibrated_quantiser.h"
#include "pinion/codec/indices/laplace_model.h"

namespace pinion::codec {
namespace {

// How much an output error that the velocity's own coding makes counts beside one that comes from a state.
// Those of states are alike from step to step, since frames predict from each other, and add up; those of the
// velocity are new each time. Measured: docs/calibration.md.
constexpr double kVelocityWeight = 0.33;
constexpr double kLeastDb = 0.01, kMostDb = 200;  // of a stream's share
constexpr int kHalvings = 40;
constexpr int kFramesOfNoise = 4;  // what is left out adds up from frame to frame, by less and less
constexpr double kSettled = 0.02;
constexpr double kFrameBits = 8 * 64;  // header, parameters and chunk sizes, about

// A curve is known at this many steps, from one at which nothing is said downward.
constexpr int kPoints = 36;
constexpr double kStepRatio = 0.70710678118654752;
constexpr double kSilentSteps = 16;  // over the widest deviation

// What a stream's frame is expected to cost at a step, as its calibration has it.
struct Point {
  double error = 0;  // output error energy, without the floor
  double bits = 0;
};

// Rows that are about as loud.
struct RowGroup {
  double share;   // of all rows
  double weight;  // what an error counts
  double step;    // of the stream's
};

// Of rows whose loudness is l = bias + something of mean 0, the mean of 2^l being 1 (docs/calibration.md,
// "Loudness"): were l normal, its variance would follow from the bias. Five points of Gauss and Hermite stand
// for it.
std::vector<RowGroup> groups_of(double bias) {
  constexpr std::array<std::pair<double, double>, 5> kPlaceAndShare = {
      {{2.8570, 0.01126}, {1.3556, 0.22208}, {0, 0.53333}, {-1.3556, 0.22208}, {-2.8570, 0.01126}}};
  const double deviation = std::sqrt(std::max(0.0, -2 * bias / std::numbers::ln2));
  std::vector<RowGroup> groups;
  double sum = 0;
  for (const auto& [place, share] : kPlaceAndShare) {
    const double loudness = std::clamp(bias + place * deviation, -kMaxLoudness, kMaxLoudness);
    groups.push_back({share, std::exp2(loudness), std::exp2(-loudness / 2)});
    sum += share * groups.back().weight;
  }
  for (RowGroup& group : groups) group.weight /= sum;
  return groups;
}

// All that a stream may choose from.
class Curve {
 public:
  Curve(const StepStream& stream, const StepContext& context)
      : rows_(static_cast<double>(stream.rows)), output_rows_(static_cast<double>(context.output_rows)) {
    const auto predictor = context.previous_sigma && !context.previous_latents.empty()
                               ? CalibratedPredictor::kHistory
                               : CalibratedPredictor::kLatentsAlone;
    record_at(*stream.calibration, schedule_position(*stream.calibration, context.sigma), predictor, record_);
    if (!record_.loudness.empty()) groups_ = groups_of(record_.loudness_bias);
    const bool carries = predictor == CalibratedPredictor::kHistory && stream.calibration->has_history;
    for (std::size_t k = 0; k < record_.levels.size(); ++k) {
      deviations_.push_back(
          std::exp2((static_cast<double>(record_.levels[k]) - kLevelZero) / kLevelsPerOctave));
      carried_.push_back(0);
      for (std::size_t j = 0; carries && j < record_.levels.size(); ++j) {
        const double part = static_cast<double>(record_.prediction.row(j)[k]);
        carried_.back() += part * part;
      }
    }
    const double widest = *std::max_element(deviations_.begin(), deviations_.end());
    double step = kSilentSteps * widest / groups_.front().step;
    for (int i = 0; i < kPoints; ++i, step *= kStepRatio) points_.push_back(point_at(step));
    // What the last bit bought, from point to point ever less.
    const double weight = stream.calibration->key.stream == "velocity" ? kVelocityWeight : 1;
    for (int i = 0; i + 1 < kPoints; ++i) {
      const double bought = points_[i].error - points_[i + 1].error;
      const double paid = std::max(points_[i + 1].bits - points_[i].bits, 1e-9);
      const double price = std::log(weight * std::max(bought / paid, 1e-300));
      log_prices_.push_back(i == 0 ? price : std::min(price, log_prices_.back()));
    }
  }

  double floor() const { return rows_ * record_.floor; }
  double signal() const { return output_rows_ * record_.output_energy; }

  // Where a bit buys so much error energy.
  Point at_price(double log_price) const {
    std::size_t i = 0;
    while (i < log_prices_.size() && log_prices_[i] >= log_price) ++i;
    // Prices are those between two points.
    if (i == 0) return points_.front();
    if (i == log_prices_.size()) return points_.back();
    const double from = log_prices_[i - 1], to = log_prices_[i];
    const double part = from - to > 0 ? (from - log_price) / (from - to) : 1;
    const Point a = between(points_[i - 1], points_[i], 0.5), b = between(points_[i], points_[i + 1], 0.5);
    return between(a, b, part);
  }

  double highest_log_price() const { return log_prices_.front(); }
  double lowest_log_price() const { return log_prices_.back(); }

 private:
  static Point between(const Point& a, const Point& b, double part) {
    const double log_error =
        std::log(std::max(a.error, 1e-300)) * (1 - part) + std::log(std::max(b.error, 1e-300)) * part;
    return {std::exp(log_error), a.bits + (b.bits - a.bits) * part};
  }

  // A component's deviation over the step: what is new, and the noise that history brings of the frames
  // before.
  double in_steps(std::size_t k, double step) const {
    const double fresh = deviations_[k] / step;
    if (carried_[k] == 0) return fresh;
    double noise = 0, all = fresh;
    for (int frame = 0; frame < kFramesOfNoise; ++frame) {
      const double before = std::exchange(noise, laplace_error(all));
      all = std::sqrt(fresh * fresh + carried_[k] * noise);
      if (std::abs(noise - before) < kSettled * noise) break;
    }
    return all;
  }

  Point point_at(double step) const {
    Point point{0, kFrameBits};
    for (const RowGroup& group : groups_) {
      const double own = step * group.step;
      double error = 0, bits = 0;
      for (std::size_t k = 0; k < deviations_.size(); ++k) {
        const double deviation = in_steps(k, own);
        error += static_cast<double>(record_.gain[k]) * laplace_error(deviation);
        bits += laplace_bits(deviation);
      }
      point.error += rows_ * group.share * group.weight * own * own * error;
      point.bits += rows_ * group.share * bits;
    }
    return point;
  }

  RecordAt record_;
  std::vector<double> deviations_;
  std::vector<double> carried_;  // of equal noise in all components, what each predicts from it
  std::vector<RowGroup> groups_ = {{1, 1, 1}};  // the loudest first
  double rows_, output_rows_;
  std::vector<Point> points_;
  std::vector<double> log_prices_;  // between them
};

// The lowest price at which `fits` still holds for the sum of all, as it does for high prices.
template <class Fits>
double lowest_log_price(std::span<const Curve> curves, const Fits& fits) {
  double low = curves[0].lowest_log_price(), high = curves[0].highest_log_price();
  for (const Curve& curve : curves) {
    low = std::min(low, curve.lowest_log_price());
    high = std::max(high, curve.highest_log_price());
  }
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    Point sum;
    for (const Curve& curve : curves) {
      const Point point = curve.at_price(middle);
      sum.error += point.error;
      sum.bits += point.bits;
    }
    (fits(sum) ? high : low) = middle;
  }
  return high;
}

}  // namespace

double expected_bits(const StepStream& stream, const StepContext& context, double output_snr_db) {
  const std::vector<Curve> alone = {Curve(stream, context)};
  const double allowed = allowed_component_error(output_snr_db, alone[0].signal(), alone[0].floor());
  // Prices fall with errors: the highest that is good enough.
  const double price = lowest_log_price(alone, [&](const Point& sum) { return sum.error > allowed; });
  return alone[0].at_price(price).bits;
}

CalibratedTarget share_of(const CalibratedTarget& whole, std::span<const StepStream> streams, std::size_t own,
                          const StepContext& context) {
  if (streams.size() == 1) return whole;
  std::vector<Curve> curves;
  double floor = 0;
  for (const StepStream& stream : streams) {
    curves.emplace_back(stream, context);
    floor += curves.back().floor();
  }
  const Curve& mine = curves[own];
  CalibratedTarget share = whole;
  if (whole.frame_bytes > 0) {
    const double budget = 8 * static_cast<double>(whole.frame_bytes);
    const double price = lowest_log_price(curves, [&](const Point& sum) { return sum.bits <= budget; });
    double bits = 0;
    for (const Curve& curve : curves) bits += curve.at_price(price).bits;
    share.frame_bytes =
        std::max<std::size_t>(1, static_cast<std::size_t>(budget * mine.at_price(price).bits / bits / 8));
    return share;
  }
  const double allowed = allowed_component_error(whole.output_snr_db, mine.signal(), floor);
  const double price = lowest_log_price(curves, [&](const Point& sum) { return sum.error > allowed; });
  const double error = mine.at_price(price).error + mine.floor();
  share.output_snr_db = std::clamp(10 * std::log10(mine.signal() / error), kLeastDb, kMostDb);
  return share;
}

}  // namespace pinion::codec
