#include "pinion/codec/fidelity/fidelity_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/fidelity/frame_quantiser.h"
#include "pinion/codec/fidelity/predictor_choice.h"
#include "pinion/codec/fidelity/rate_model.h"
#include "pinion/codec/fidelity/reconstruct.h"
#include "pinion/codec/tensor_error.h"

namespace pinion::codec {
namespace {

constexpr double kGoodEnough = 0.015;     // see Attempt::badness
constexpr double kAcceptedRatio = 1.025;  // of the error to the target: a tenth of a decibel
constexpr int kMaxPasses = 10;            // one is usual
constexpr double kLowered = 0.9;
constexpr double kFinest = 1.0 / 16;  // of a step: its error is nothing beside that of what is left out

// Puts the residuals into coded order.
Bytes write(const FidelityRequest& request, QuantisedFrame& frame, IndexTables& tables, ChunkPool& pool) {
  const auto rows = static_cast<std::size_t>(rows_of(request.tensor.shape));
  const ComponentParams& components = frame.params.components;
  const std::size_t band_count = components.band_scales.size();
  const RowBands bands = band_count > 1 ? RowBands(frame.band_of_row, band_count) : RowBands(rows);
  bands.sort_runs(std::span(frame.residuals));
  std::vector<std::int32_t> means = frame.mean_residuals;
  ByteWriter body;
  write_fidelity_params(body, frame.params, request.prediction.previous);
  if (band_count > 1) {
    write_varint(body, frame.band_map.size());
    body.write_bytes(frame.band_map);
  }
  write_index_chunks(body, choose_grid(components, rows, frame.bits),
                     {.params = components,
                      .band_ends = bands.ends(),
                      .values = frame.residuals,
                      .lead_class = frame.params.mean_class,
                      .lead = means},
                     tables, pool);
  FrameHeader header{Mode::kFidelity, request.tensor.dtype, request.tensor.shape, std::nullopt, std::nullopt};
  if (request.fit != nullptr) header.basis = request.fit->basis->id;
  if (frame.params.references > 0) header.previous = request.prediction.previous->checksum;
  return write_frame(header, body.view());
}

// Components at the end that say nothing need not be mentioned.
void trim(QuantisedFrame& frame, std::size_t rows) {
  ComponentParams& params = frame.params.components;
  const auto silent = [&](std::size_t k) {
    const auto state = std::span(frame.state.components).subspan(k * rows, rows);
    return frame.coded[k] == 0 && std::all_of(state.begin(), state.end(), [](auto s) { return s == 0; });
  };
  while (!params.scales.empty() && silent(params.scales.size() - 1)) {
    params.scales.pop_back();
    if (!params.predictor_of.empty()) params.predictor_of.pop_back();
  }
  frame.state.components.resize(params.scales.size() * rows);
  frame.residuals.resize(params.scales.size() * rows);
  frame.state.scales = params.scales;
}

// A frame as the decoder will see it.
struct Attempt {
  QuantisedFrame frame;
  Tensor decoded;
  FrameStats stats;
  double error = 0;        // mean squared error of a row,
  double error_ratio = 0;  // and over the target

  // Missing the target is worse than passing it.
  bool is_better_than(const Attempt& other) const {
    const bool meets = error_ratio <= kAcceptedRatio, other_meets = other.error_ratio <= kAcceptedRatio;
    return meets != other_meets ? meets : badness() < other.badness();
  }
  double badness() const { return error_ratio > 1 ? 1.5 * (error_ratio - 1) : 1 - error_ratio; }
};

Attempt complete(const FidelityRequest& request, QuantisedFrame&& frame, ChunkPool& pool) {
  const CentredTensor& centred = request.centred;
  const Basis* basis = request.fit != nullptr ? request.fit->basis.get() : nullptr;
  Attempt attempt;
  attempt.decoded = reconstruct(
      {.state = frame.state, .rows = centred.values.rows, .step = frame.params.step, .basis = basis},
      request.tensor.dtype, request.tensor.shape, pool);
  attempt.stats = measure(centred, attempt.decoded, pool);
  attempt.error = centred.energy * std::pow(10, -attempt.stats.snr_db / 10);
  attempt.error_ratio = attempt.error / request.target_error;
  attempt.frame = std::move(frame);
  return attempt;
}

// Where components are centred, in channels.
std::vector<double> shifted_means(const FidelityRequest& request, std::span<const double> shifts) {
  std::vector<double> centre = request.centred.means;
  for (std::size_t k = 0; k < shifts.size(); ++k) {
    if (shifts[k] == 0) continue;
    if (request.fit == nullptr) {
      centre[k] += shifts[k];
    } else {
      const auto direction = request.fit->basis->rows.row(k);
      for (std::size_t c = 0; c < centre.size(); ++c)
        centre[c] += shifts[k] * static_cast<double>(direction[c]);
    }
  }
  return centre;
}

// Looks for the step at which the target is met.
class StepSearch {
 public:
  StepSearch(const FidelityRequest& request, const ComponentParams& predictors, double planned_step,
             FidelityWorkspace& workspace, ChunkPool& pool)
      : request_(request),
        pool_(pool),
        mean_error_(mean_share() * request.target_error),
        model_(request.sample, request.projection.weights, predictors, pool),
        centre_(shifted_means(request, model_.shifts())),
        quantiser_({.projection = request.projection,
                    .centre = centre_,
                    .shifts = model_.shifts(),
                    .prediction = request.prediction,
                    .predictors = predictors,
                    .mean_error = mean_error_},
                   workspace, pool),
        step_(planned_step) {}

  int passes() const { return passes_; }
  double better_aim() const { return better_aim_; }

  std::optional<Attempt> run() {
    double aim = request_.target_error - request_.projection.outside - mean_error_ / 2;
    if (!(aim > 0)) aim = request_.target_error / 4;
    aim *= request_.aim;
    // The model has seen some of the rows; a look at all of them corrects it before anything is coded.
    step_ = model_.step_for(aim, step_);
    std::optional<FrameQuantiser::Look> look = quantiser_.look(step_);
    if (!look) return std::nullopt;
    std::vector<std::uint8_t> coded = std::move(look->coded);  // that the first attempts keep to
    model_.decide(coded);
    const double seen = aim * model_.error(step_) / look->error;
    if (seen >= aim / 4 && seen <= aim * 4) {
      aim = seen;
    } else if (std::isfinite(seen)) {  // the model was far off: what was decided by it means nothing
      coded.clear();
    }
    decide(coded, aim);
    std::optional<Attempt> best;
    for (int i = 0; i < kMaxPasses; ++i) {
      std::optional<Attempt> next = attempt(aim, coded, i == 1 ? &best->frame : nullptr);
      if (!next) return best;
      if (i == 0) note_aim(*next);
      const double corrected = corrected_aim(*next);
      if (!best || next->is_better_than(*best)) best = std::move(next);
      if (best->badness() < kGoodEnough || (i > 0 && best->error_ratio < kAcceptedRatio)) break;
      // With the same components coded the error follows the step smoothly. Where that does not lead there,
      // ever lower targets do.
      if (i > 0) coded.clear();
      const double next_aim = std::isfinite(corrected) ? std::clamp(corrected, aim / 4, aim * 4) : aim;
      aim = i == 0 ? next_aim : kLowered * std::min(aim, next_aim);
      decide(coded, aim);
    }
    return best;
  }

 private:
  // Keeps to what was decided, unless what is left out then costs more than the target allows, at any step.
  void decide(std::vector<std::uint8_t>& coded, double aim) {
    model_.decide(coded);
    if (coded.empty() || model_.error(step_ * kFinest) <= aim) return;
    coded.clear();
    model_.decide(coded);
  }

  // Rounding the centre may take about that share of the error at which a bit of it saves as much as one
  // elsewhere.
  double mean_share() const {
    return std::clamp(2 / static_cast<double>(request_.centred.values.rows), 5e-4, 0.02);
  }

  // What the model does not see: offsets that components share, the rows that it has not looked at, and how
  // errors along the directions of a basis add up. Apart from that, rounding to the tensor's type.
  double corrected_aim(const Attempt& last) {
    model_.decide(last.frame.coded);
    const double outside = request_.projection.outside;
    const double inside = last.error - outside;
    if (request_.fit != nullptr && inside > 0) {
      return (request_.target_error - outside) * model_.error(step_) / inside;
    }
    return (request_.target_error - (last.error - last.frame.error)) * model_.error(step_) / last.frame.error;
  }

  void note_aim(const Attempt& first) {
    const double outside = request_.projection.outside;
    const double ratio = (request_.target_error - outside) / (first.error - outside);
    if (ratio > 0) better_aim_ = std::clamp(request_.aim * ratio, 0.8, 1.25);
  }

  std::optional<Attempt> attempt(double aim, std::span<const std::uint8_t> coded,
                                 const QuantisedFrame* near) {
    step_ = model_.step_for(aim, step_);
    std::optional<QuantisedFrame> frame = quantiser_.quantise(step_, coded, near);
    ++passes_;
    if (!frame) return std::nullopt;
    return complete(request_, std::move(*frame), pool_);
  }

  const FidelityRequest& request_;
  ChunkPool& pool_;
  double mean_error_;
  StepModel model_;
  std::vector<double> centre_;
  FrameQuantiser quantiser_;
  double step_;
  int passes_ = 0;
  double better_aim_ = 1;
};

}  // namespace

std::optional<CodedFidelity> encode_fidelity(const FidelityRequest& request, FidelityWorkspace& workspace,
                                             ChunkPool& pool) {
  const std::size_t rows = request.centred.values.rows;
  const std::vector<double> left = predicted_variances(request.sample);
  const double planned = plan_rate({.variances = left,
                                    .groups = request.sample.row_groups,
                                    .outside = request.projection.outside,
                                    .target = request.target_error,
                                    .rows = rows})
                             .step;
  if (planned == 0) return std::nullopt;
  ComponentParams predictors;
  if (request.prediction.previous != nullptr) {
    choose_predictors(request.sample.correlations, planned, rows, predictors);
  }
  StepSearch search(request, predictors, planned, workspace, pool);
  std::optional<Attempt> found = search.run();
  if (!found) return std::nullopt;
  QuantisedFrame& frame = found->frame;
  trim(frame, rows);
  CodedFidelity coded{.frame = write(request, frame, workspace.tables, pool),
                      .state = {},
                      .step = frame.params.step,
                      .decoded = std::move(found->decoded),
                      .stats = found->stats,
                      .passes = search.passes(),
                      .aim = search.better_aim()};
  workspace.residuals = std::move(frame.residuals);
  coded.stats.frame_bytes = coded.frame.size();
  coded.stats.ideal_index_bits = frame.ideal_bits;
  StreamState& state = coded.state;
  std::memcpy(&state.checksum, coded.frame.data() + coded.frame.size() - kChecksumBytes, kChecksumBytes);
  if (request.fit != nullptr) state.basis = request.fit->basis->id;
  state.rows = rows;
  state.channels = request.centred.means.size();
  state.last = std::move(frame.state);
  if (frame.params.references > 0) {
    state.older = request.prediction.previous->last.components;
    state.older_largest = request.prediction.previous->last.largest;
  }
  return coded;
}

}  // namespace pinion::codec
