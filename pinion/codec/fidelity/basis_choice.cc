#include "pinion/codec/fidelity/basis_choice.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "pinion/codec/math/principal_components.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

// A basis has to pay in the frame that brings it. In later ones prediction works about as well without: what
// it leaves does not lie along the directions of the states.
constexpr double kBasisMargin = 1.0;
constexpr double kFramesPerBasis = 2;      // for the choice of its size
constexpr double kWorseThanChosen = 1.3;   // growth of a frame at which a new basis is considered
constexpr std::size_t kTryFactor = 4;      // growth of a stream between tries
constexpr std::size_t kMinBasisRows = 16;  // below, directions say more about these rows than about the next
constexpr std::size_t kMinChannels = 8;
constexpr std::size_t kSpareComponents = 32;  // found beyond twice those that a first look promises

struct HeldOut {
  std::vector<double> variances;  // of the odd rows, along the directions of the even ones
  double total_variance = 0;
};

HeldOut hold_out_half(const Matrix& values, std::size_t most) {
  std::array<Matrix, 2> halves = {Matrix((values.rows + 1) / 2, values.columns),
                                  Matrix(values.rows / 2, values.columns)};
  for (std::size_t r = 0; r < values.rows; ++r) {
    std::ranges::copy(values.row(r), halves[r % 2].row(r / 2).begin());
  }
  const PrincipalComponents seen = principal_components(halves[0], most);
  const Matrix along =
      multiply_transposed(transpose(seen.directions), transpose(halves[1]));  // [components, rows]
  HeldOut held_out;
  const auto rows = static_cast<double>(halves[1].rows);
  for (std::size_t k = 0; k < along.rows; ++k) held_out.variances.push_back(energy(along.row(k)) / rows);
  held_out.total_variance = energy(halves[1].values) / rows;
  return held_out;
}

// A look at a few rows before any long computation: the variances along directions that half of them define,
// of the other half.
HeldOut look_at_few_rows(const CentredTensor& centred) {
  constexpr std::size_t kMostRows = 160;
  const std::size_t rows = centred.values.rows, channels = centred.means.size();
  const std::size_t count = std::max<std::size_t>(1, std::min({rows / 3, channels / 2, kMostRows}));
  std::vector<double> energies(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    energies[r] = vector_loops().distance(centred.values.row(r).data(), centred.means.data(), channels);
  }
  // The longest rows, for they take the bits; but not of two alike, and both halves alike.
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return energies[a] > energies[b]; });
  Matrix few(2 * count, channels);
  for (std::size_t i = 0; i < few.rows; ++i) {
    const auto from = centred.values.row(order[i * rows / few.rows]);
    const auto to = few.row(i);
    for (std::size_t c = 0; c < channels; ++c) {
      to[c] = static_cast<float>(static_cast<double>(from[c]) - centred.means[c]);
    }
  }
  return hold_out_half(few, kMostRows);
}

// An optimistic guess of how many components a basis would have; 0 if it surely does not pay.
std::size_t promising_components(const CentredTensor& centred, std::span<const RowGroup> groups,
                                 double target, double allowed_bits) {
  constexpr double kOptimism = 0.85;           // of the bits
  constexpr std::size_t kMostPromising = 384;  // more are no low rank, and long to find
  constexpr double kHeardVariance = 0.1;       // squared steps: components below are not coded
  const std::size_t rows = centred.values.rows, channels = centred.means.size();
  HeldOut seen = look_at_few_rows(centred);
  // What the directions do not reach lies along all others alike.
  const double inside = std::accumulate(seen.variances.begin(), seen.variances.end(), 0.0);
  const std::size_t found = seen.variances.size();
  const std::size_t others =
      std::max<std::size_t>(1, std::min(rows, channels) - std::min({rows, channels, found}));
  const double rest = std::max(0.0, seen.total_variance - inside) / static_cast<double>(others);
  seen.variances.insert(seen.variances.end(), others, rest);
  // The few rows were long ones.
  for (double& variance : seen.variances) variance *= centred.energy / seen.total_variance;
  const RatePlan plan = plan_rate(
      {.variances = seen.variances, .groups = groups, .outside = 0, .target = target, .rows = rows});
  if (plan.step == 0) return 0;
  double largest_group = 1;
  for (const RowGroup& group : groups) largest_group = std::max(largest_group, group.size);
  const double floor = kHeardVariance * plan.step * plan.step / largest_group;
  std::sort(seen.variances.begin(), seen.variances.end(), std::greater<>());
  const auto heard = static_cast<std::size_t>(
      std::count_if(seen.variances.begin(), seen.variances.end(), [&](double v) { return v > floor; }));
  if (heard == 0 || heard > kMostPromising) return 0;
  const BasisPlan basis = plan_basis_of({.variances = seen.variances,
                                         .groups = groups,
                                         .total_variance = centred.energy,
                                         .target = target,
                                         .rows = rows,
                                         .channels = channels},
                                        heard);
  const bool promises =
      basis.components > 0 && kOptimism * (basis.basis_bits + basis.rate.bits) < allowed_bits;
  return promises ? heard : 0;
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
  candidate.projection = fit ? project(*fit, *centred.transposed) : Projection{centred.transposed, {}, 0};
  const std::size_t rows = centred.values.rows;
  const std::optional<BasisId> id = fit ? std::optional(fit->basis->id) : std::nullopt;
  if (state_ && state_->basis == id && state_->rows == rows && state_->channels == centred.means.size()) {
    candidate.prediction = {&*state_, steps_};
  }
  candidate.fit = std::move(fit);
  const double outside = candidate.projection.outside;
  candidate.sample = sample_components(candidate.projection, candidate.prediction, pool_);
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
  // Computing one takes long, so every next try waits longer.
  return frames_ == 0 || (frames_ >= next_try_ && current->plan.bits > kWorseThanChosen * bits_at_choice_);
}

std::optional<BasisChooser::Candidate> BasisChooser::try_new_basis(const CentredTensor& centred,
                                                                   double target, const Candidate* current) {
  const std::size_t rows = centred.values.rows;
  const std::size_t channels = centred.means.size();
  if (rows < kMinBasisRows || channels < kMinChannels) return std::nullopt;
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
  const std::size_t promising = promising_components(centred, groups, target, allowed_bits);
  if (promising == 0) return std::nullopt;
  const std::size_t most = std::min(kMaxComponents, 2 * promising + kSpareComponents);
  const Matrix values = transpose(*centred.transposed);
  const PrincipalComponents found = principal_components(values, most);
  const BasisProblem seen = problem(found.variances, found.total_variance);
  if (!pays(plan_basis(seen))) return std::nullopt;
  // Directions fit the rows they come from better than any others: rows that they have not seen say how many
  // to keep.
  const HeldOut held_out = hold_out_half(values, most);
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
                                                double target_snr_db, BasisUse use) {
  const double target = centred.energy * std::pow(10, -target_snr_db / 10);
  std::optional<Candidate> best;
  const auto consider = [&best](Candidate&& candidate) {
    if (candidate.plan.step == 0 || (best && best->plan.bits <= candidate.plan.bits)) return;
    best = std::move(candidate);
  };
  if (fit_ && use != BasisUse::kNone && fit_->basis->rows.columns == centred.means.size())
    consider(evaluate(fit_, centred, target));
  // Channels as they are: always possible, and the right thing for few rows.
  consider(evaluate(nullptr, centred, target));
  const bool compared = use == BasisUse::kAny && should_try_new(best ? &*best : nullptr);
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
                                .target_error = target,
                                .aim = best->prediction.previous == nullptr ? 1 : aim_},
                               workspace_, pool_);
  if (!coded) return std::nullopt;
  ChosenFrame chosen;
  chosen.coded = std::move(*coded);
  chosen.fit = best->fit;
  chosen.use = use;
  chosen.key_frame = best->prediction.previous == nullptr;
  chosen.compared = compared;
  chosen.planned_bits = best->plan.bits;
  return chosen;
}

void BasisChooser::commit(ChosenFrame&& chosen) {
  // A frame that may have none says nothing about the one that is here.
  if (chosen.use != BasisUse::kNone) {
    if (chosen.fit != fit_ || !fit_is_tested_) fit_is_tested_ = chosen.fit != nullptr;
    fit_ = std::move(chosen.fit);
  }
  if (chosen.compared) {
    bits_at_choice_ = chosen.planned_bits;
    next_try_ = kTryFactor * (frames_ + 1);
  }
  if (state_) workspace_.components = std::move(state_->older);
  state_ = std::move(chosen.coded.state);
  aim_ = chosen.key_frame ? 1 : chosen.coded.aim;
  steps_ = {chosen.coded.step, steps_[0]};
  ++frames_;
}

}  // namespace pinion::codec
