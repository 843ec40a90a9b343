#include "pinion/codec/calibrated/step_budget.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/indices/laplace_model.h"

namespace pinion::codec {
namespace {

// Where exact components would miss a target, their errors get this share of the floor.
constexpr double kShareOfFloor = 0.1;
constexpr double kMostDb = 100;
constexpr int kHalvings = 12;
constexpr int kFramesOfNoise = 4;      // what is left out adds up from frame to frame, by less and less
constexpr double kFrameBits = 8 * 64;  // header, parameters and chunk sizes, about

// The components of a stream as its calibration expects them at a step.
class Expected {
 public:
  Expected(const BudgetStream& stream, const StepContext& context)
      : rows_(static_cast<double>(stream.rows)), output_rows_(static_cast<double>(context.output_rows)) {
    const auto predictor = context.previous_sigma && !context.previous_latents.empty()
                               ? CalibratedPredictor::kHistory
                               : CalibratedPredictor::kLatentsAlone;
    record_at(*stream.calibration, schedule_position(*stream.calibration, context.sigma), predictor, record_);
    weight_ = record_.loudness.empty() ? 1 : std::exp2(static_cast<double>(record_.loudness_bias));
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
  }

  double bits(double output_snr_db) const {
    const double allowed = output_rows_ * record_.output_energy * std::pow(10, -output_snr_db / 10);
    const double floor = rows_ * weight_ * record_.floor;
    const double error = std::max(allowed - floor, kShareOfFloor * std::min(allowed, floor));
    double low = -60, high = 40;  // log2 of the step
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = (low + high) / 2;
      (error_at(std::exp2(middle)) <= error ? low : high) = middle;
    }
    double sum = kFrameBits;
    for (std::size_t k = 0; k < deviations_.size(); ++k)
      sum += rows_ * laplace_bits(in_steps(k, std::exp2(low)));
    return sum;
  }

 private:
  // A component's deviation over the step: what is new, and the noise that history brings of the frames
  // before.
  double in_steps(std::size_t k, double step) const {
    const double fresh = deviations_[k] / step;
    if (carried_[k] == 0) return fresh;
    double noise = 0, all = fresh;
    for (int frame = 0; frame < kFramesOfNoise; ++frame) {
      noise = laplace_error(all);
      all = std::sqrt(fresh * fresh + carried_[k] * noise);
    }
    return all;
  }

  double error_at(double step) const {
    double sum = 0;
    for (std::size_t k = 0; k < deviations_.size(); ++k) {
      sum += static_cast<double>(record_.gain[k]) * laplace_error(in_steps(k, step));
    }
    return rows_ * weight_ * step * step * sum;
  }

  RecordAt record_;
  std::vector<double> deviations_;
  std::vector<double> carried_;  // of equal noise in all components, what each predicts from it
  double rows_, output_rows_, weight_ = 1;
};

}  // namespace

double expected_bits(const BudgetStream& stream, const StepContext& context, double output_snr_db) {
  return Expected(stream, context).bits(output_snr_db);
}

std::size_t budget_share(std::size_t budget_bytes, std::span<const BudgetStream> streams, std::size_t own,
                         const StepContext& context) {
  if (streams.size() == 1) return std::max<std::size_t>(1, budget_bytes);
  std::vector<Expected> expected;
  for (const BudgetStream& stream : streams) expected.emplace_back(stream, context);
  const auto all = [&](double snr_db) {
    double bits = 0;
    for (const Expected& stream : expected) bits += stream.bits(snr_db);
    return bits;
  };
  const double budget = 8 * static_cast<double>(budget_bytes);
  double low = 0, high = kMostDb;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (all(middle) <= budget ? low : high) = middle;
  }
  const double share = budget * expected[own].bits(low) / all(low);
  return std::max<std::size_t>(1, static_cast<std::size_t>(share / 8));
}

}  // namespace pinion::codec
