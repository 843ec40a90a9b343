#include "pinion/codec/basis_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/codec/principal_components.h"

namespace pinion::codec {
namespace {

// A basis has to pay in the frame that brings it. In later ones prediction works about as well without: what
// it leaves does not lie along the directions of the states.
constexpr double kBasisMargin = 1.3;
constexpr double kFramesPerBasis = 2;     // for the choice of its size
constexpr double kWorseThanChosen = 1.3;  // growth of a frame at which a new basis is considered
constexpr std::size_t kMinRows = 16;      // below, directions say more about these rows than about the next
constexpr std::size_t kMinChannels = 8;

struct HeldOut {
  std::vector<double> variances;  // of the odd rows, along the directions of the even ones
  double total_variance = 0;
};

HeldOut hold_out_half(const Matrix& values) {
  std::array<Matrix, 2> halves = {Matrix((values.rows + 1) / 2, values.columns),
                                  Matrix(values.rows / 2, values.columns)};
  for (std::size_t r = 0; r < values.rows; ++r) {
    std::ranges::copy(values.row(r), halves[r % 2].row(r / 2).begin());
  }
  const PrincipalComponents seen = principal_components(halves[0]);
  const Matrix along =
      multiply_transposed(transpose(seen.directions), transpose(halves[1]));  // [components, rows]
  HeldOut held_out;
  const auto rows = static_cast<double>(halves[1].rows);
  for (std::size_t k = 0; k < along.rows; ++k) held_out.variances.push_back(energy(along.row(k)) / rows);
  held_out.total_variance = energy(halves[1].values) / rows;
  return held_out;
}

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
  candidate.projection = fit ? project(*fit, *centred.transposed) : Projection{centred.transposed, 0};
  const std::size_t rows = centred.values.rows;
  const std::optional<BasisId> id = fit ? std::optional(fit->basis->id) : std::nullopt;
  if (state_ && state_->basis == id && state_->rows == rows && state_->channels == centred.means.size()) {
    candidate.prediction = {&*state_, steps_};
  }
  candidate.fit = std::move(fit);
  const double outside = candidate.projection.outside;
  candidate.sample = sample_components(candidate.projection, candidate.prediction);
  candidate.plan = plan_rate({.variances = predicted_variances(candidate.sample),
                              .groups = candidate.sample.row_groups,
                              .outside = outside,
                              .target = target,
                              .rows = rows});
  return candidate;
}

bool BasisChooser::should_try_new(const Candidate* current) const {
  if (current == nullptr) return true;
  if (current->fit && !fit_is_tested_) return false;  // it was offered: see first how it does
  return frames_ == 0 || current->plan.bits > kWorseThanChosen * bits_at_choice_;
}

std::optional<BasisChooser::Candidate> BasisChooser::try_new_basis(const CentredTensor& centred,
                                                                   double target, const Candidate* current) {
  const std::size_t rows = centred.values.rows;
  const std::size_t channels = centred.means.size();
  if (rows < kMinRows || channels < kMinChannels) return std::nullopt;
  const double allowed_bits =
      current != nullptr ? current->plan.bits : std::numeric_limits<double>::infinity();
  const std::vector<RowGroup> alike = {RowGroup{}};
  const std::vector<RowGroup>& groups = current != nullptr ? current->sample.row_groups : alike;
  const auto problem = [&](std::span<const double> variances, double total_variance) {
    return BasisProblem{variances, groups, total_variance, target, rows, channels, kFramesPerBasis};
  };
  const auto pays = [&](const BasisPlan& plan) {
    return plan.components > 0 && kBasisMargin * plan.basis_bits + plan.rate.bits < allowed_bits;
  };
  const Matrix values = transpose(*centred.transposed);
  const PrincipalComponents found = principal_components(values);
  const BasisProblem seen = problem(found.variances, found.total_variance);
  if (!pays(plan_basis(seen))) return std::nullopt;
  // Directions fit the rows they come from better than any others: rows that they have not seen say how many
  // to keep.
  const HeldOut held_out = hold_out_half(values);
  const BasisPlan general = plan_basis(problem(held_out.variances, held_out.total_variance));
  const std::size_t components = std::min(general.components, found.variances.size());
  const BasisPlan chosen = plan_basis_of(seen, components);
  if (!pays(chosen)) return std::nullopt;

  Matrix directions(components, channels);
  std::copy_n(found.directions.values.begin(), directions.values.size(), directions.values.begin());
  std::vector<double> steps;
  for (std::size_t k = 0; k < components; ++k) {
    steps.push_back(basis_step(found.variances[k], chosen.rate.step, channels));
  }
  auto fit = fit_basis(encode_basis(directions, steps));
  if (!fit.ok()) return std::nullopt;
  return evaluate(std::move(fit).value(), centred, target);
}

std::optional<ChosenFrame> BasisChooser::encode(const TensorView& tensor, const CentredTensor& centred,
                                                double target_snr_db) {
  const double target = centred.energy * std::pow(10, -target_snr_db / 10);
  std::optional<Candidate> best;
  const auto consider = [&best](Candidate&& candidate) {
    if (candidate.plan.step == 0 || (best && best->plan.bits <= candidate.plan.bits)) return;
    best = std::move(candidate);
  };
  if (fit_ && fit_->basis->rows.columns == centred.means.size()) consider(evaluate(fit_, centred, target));
  // Channels as they are: always possible, and the right thing for few rows.
  if (!best || !fit_is_tested_) consider(evaluate(nullptr, centred, target));
  const bool compared = should_try_new(best ? &*best : nullptr);
  if (compared) {
    if (auto fresh = try_new_basis(centred, target, best ? &*best : nullptr)) consider(std::move(*fresh));
  }
  if (!best) return std::nullopt;
  auto coded = encode_fidelity({.tensor = tensor,
                                .centred = centred,
                                .projection = best->projection,
                                .sample = best->sample,
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
