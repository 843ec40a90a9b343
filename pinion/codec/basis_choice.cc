#include "pinion/codec/basis_choice.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/principal_components.h"

namespace pinion::codec {
namespace {

constexpr double kFramesPerBasis = 4;     // that a basis is expected to serve: the steps of a short job
constexpr double kWorseThanChosen = 1.3;  // growth of a frame at which a new basis is considered
constexpr std::size_t kMinRows = 16;      // below, directions say more about these rows than about the next
constexpr std::size_t kMinChannels = 8;

}  // namespace

Result<void> BasisChooser::offer(ByteSpan asset) {
  PINION_TRY(fit_, fit_basis(Bytes(asset.begin(), asset.end())));
  fit_is_tested_ = false;
  state_.reset();
  return {};
}

BasisChooser::Candidate BasisChooser::evaluate(std::shared_ptr<const BasisFit> fit,
                                               const CentredTensor& centred, double target) const {
  Candidate candidate;
  candidate.projection = fit ? project(*fit, centred.transposed) : project_channels(centred.transposed);
  const std::size_t rows = centred.transposed.columns;
  const std::optional<BasisId> id = fit ? std::optional(fit->basis->id) : std::nullopt;
  if (state_ && state_->basis == id && state_->rows == rows && state_->channels == centred.means.size()) {
    candidate.prediction = {&*state_, steps_};
  }
  candidate.fit = std::move(fit);
  const double outside = candidate.projection.outside;
  const std::vector<double> left = predicted_variances(candidate.projection, candidate.prediction);
  candidate.plan = plan_rate({left, outside, target, rows});
  candidate.intra_bits = plan_rate({candidate.projection.variances, outside, target, rows}).bits;
  return candidate;
}

bool BasisChooser::should_try_new(const Candidate* current) const {
  if (current == nullptr || current->plan.step == 0) return true;
  if (!fit_is_tested_) return false;  // it was offered: see first how it does
  // The first steps of a job differ most from each other.
  return frames_ <= 1 || current->plan.bits > kWorseThanChosen * bits_at_choice_;
}

std::optional<BasisChooser::Candidate> BasisChooser::try_new_basis(const CentredTensor& centred,
                                                                   double target, const Candidate* current) {
  const std::size_t rows = centred.transposed.columns;
  const std::size_t channels = centred.means.size();
  if (rows < kMinRows || channels < kMinChannels) return std::nullopt;
  const PrincipalComponents found = principal_components(transpose(centred.transposed));
  const BasisPlan plan = plan_basis({.variances = found.variances,
                                     .total_variance = found.total_variance,
                                     .target = target,
                                     .rows = rows,
                                     .channels = channels,
                                     .frames = kFramesPerBasis});
  if (plan.components == 0) return std::nullopt;
  if (current != nullptr && current->plan.step > 0) {
    // Prediction will help the frames after a change as much as it helps now.
    const double help =
        current->intra_bits > 0 ? std::min(1.0, current->plan.bits / current->intra_bits) : 1.0;
    const double with_new = plan.basis_bits + plan.rate.bits * (1 + (kFramesPerBasis - 1) * help);
    if (with_new >= kFramesPerBasis * current->plan.bits) return std::nullopt;
  }
  Matrix directions(plan.components, channels);
  std::copy_n(found.directions.values.begin(), directions.values.size(), directions.values.begin());
  std::vector<double> steps;
  for (std::size_t k = 0; k < plan.components; ++k) {
    steps.push_back(basis_step(found.variances[k], plan.rate.step, channels));
  }
  auto fit = fit_basis(encode_basis(directions, steps));
  if (!fit.ok()) return std::nullopt;
  return evaluate(std::move(fit).value(), centred, target);
}

std::optional<ChosenFrame> BasisChooser::encode(const TensorView& tensor, const CentredTensor& centred,
                                                double target_snr_db) {
  const double target = centred.energy * std::pow(10, -target_snr_db / 10);
  std::optional<Candidate> best;
  if (fit_ && fit_->basis->rows.columns == centred.means.size()) best = evaluate(fit_, centred, target);
  if (!best || best->plan.step == 0) {
    // Channels as they are: always possible, and the right thing for few rows.
    Candidate plain = evaluate(nullptr, centred, target);
    if (plain.plan.step > 0) best = std::move(plain);
  }
  const bool compared = should_try_new(best ? &*best : nullptr);
  if (compared) {
    if (auto fresh = try_new_basis(centred, target, best ? &*best : nullptr); fresh && fresh->plan.step > 0) {
      best = std::move(fresh);
    }
  }
  if (!best) return std::nullopt;
  auto coded = encode_fidelity({.tensor = tensor,
                                .centred = centred,
                                .projection = best->projection,
                                .fit = best->fit.get(),
                                .prediction = best->prediction,
                                .target_error = target},
                               tables_);
  if (!coded) return std::nullopt;
  ChosenFrame chosen;
  chosen.coded = std::move(*coded);
  chosen.fit = best->fit;
  chosen.key_frame = best->prediction.previous == nullptr;
  chosen.compared = compared;
  chosen.planned_bits = best->plan.bits;
  return chosen;
}

void BasisChooser::commit(ChosenFrame&& chosen) {
  if (chosen.fit != fit_ || !fit_is_tested_) fit_is_tested_ = chosen.fit != nullptr;
  fit_ = std::move(chosen.fit);
  if (chosen.compared) bits_at_choice_ = chosen.planned_bits;
  state_ = std::move(chosen.coded.state);
  steps_ = {chosen.coded.step, steps_[0]};
  ++frames_;
}

}  // namespace pinion::codec
