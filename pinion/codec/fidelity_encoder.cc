#include "pinion/codec/fidelity_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/base/float_formats.h"
#include "pinion/codec/bit_stream.h"
#include "pinion/codec/ideal_bits.h"
#include "pinion/codec/rate_model.h"
#include "pinion/codec/reconstruct.h"

namespace pinion::codec {
namespace {

constexpr int kMaxSearchSteps = 8;
constexpr double kSearchTolerance = 0.008;  // of the error, in the component domain
constexpr int kMaxCorrections = 3;          // with the whole decoder in the loop,
constexpr int kMaxAttempts = 12;            // and with lower targets until one is met
constexpr double kGoodEnough = 0.03;        // see Attempt::badness
constexpr double kAcceptedRatio = 1.05;     // of the error to the target: a fifth of a decibel

// The step at which the error in the component domain is `target`, by secants
// of log error over log step.
std::optional<QuantisedFrame> search(const FrameQuantiser& quantiser, double target, double outside,
                                     double step) {
  std::optional<QuantisedFrame> best;
  double last_step = 0, last_error = 0;
  for (int i = 0; i < kMaxSearchSteps; ++i) {
    std::optional<QuantisedFrame> frame = quantiser.quantise(step, best ? &*best : nullptr);
    if (!frame) return best;
    const double error = frame->error;
    if (!best || std::abs(error - target) < std::abs(best->error - target)) best = std::move(frame);
    if (std::abs(error - target) < kSearchTolerance * target) break;
    // Near the outside error the step moves little; then only the rest of the
    // error follows it.
    double slope = 2 * (error - outside) / error;
    if (last_step > 0 && last_error != error)
      slope = std::log(error / last_error) / std::log(step / last_step);
    slope = std::clamp(slope, 0.3, 3.0);
    last_step = step;
    last_error = error;
    step *= std::exp(std::clamp(std::log(target / error) / slope, -1.5, 1.5));
  }
  return best;
}

Bytes write(const FidelityRequest& request, QuantisedFrame& frame, IndexTables& tables) {
  ByteWriter body;
  write_fidelity_params(body, frame.params, request.prediction.previous);
  if (frame.bands.count() > 1) {
    write_varint(body, frame.band_map.size());
    body.write_bytes(frame.band_map);
  }
  write_index_chunks(body, choose_grid(frame.params.components, frame.bands.rows(), frame.bits),
                     {.params = frame.params.components,
                      .band_ends = frame.bands.ends(),
                      .values = frame.residuals,
                      .lead_class = frame.params.mean_class,
                      .lead = frame.mean_residuals},
                     tables);
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
    return params.scales[k] == 0 && std::all_of(state.begin(), state.end(), [](auto s) { return s == 0; });
  };
  while (!params.scales.empty() && silent(params.scales.size() - 1)) {
    params.scales.pop_back();
    if (!params.predictor_of.empty()) params.predictor_of.pop_back();
    frame.state.components.resize(params.scales.size() * rows);
  }
  frame.residuals.resize(params.scales.size() * rows);
}

// A frame as the decoder will see it.
struct Attempt {
  QuantisedFrame frame;
  StreamState state;  // without checksum and older components
  Tensor decoded;
  double error_ratio = 0;  // of the target

  // Missing the target is worse than passing it.
  double badness() const { return error_ratio > 1 ? 2 * (error_ratio - 1) : 1 - error_ratio; }
};

Attempt complete(const FidelityRequest& request, QuantisedFrame&& frame) {
  const auto rows = static_cast<std::size_t>(rows_of(request.tensor.shape));
  trim(frame, rows);
  frame.state.scales = frame.params.components.scales;
  Attempt attempt;
  attempt.state.rows = rows;
  attempt.state.channels = request.centred.means.size();
  attempt.state.last = std::move(frame.state);
  const Basis* basis = request.fit != nullptr ? request.fit->basis.get() : nullptr;
  if (basis != nullptr) attempt.state.basis = basis->id;
  attempt.decoded = to_tensor(reconstruct(attempt.state, frame.params.step, basis), request.tensor.dtype,
                              request.tensor.shape);
  attempt.error_ratio = row_error(request.tensor, attempt.decoded) / request.target_error;
  attempt.frame = std::move(frame);
  return attempt;
}

}  // namespace

Result<CentredTensor> centre(const TensorView& tensor) {
  const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape));
  Matrix values(rows, channels);
  to_float(tensor.data, tensor.dtype, tensor.elements(), values.values.data());
  CentredTensor centred;
  centred.means.resize(channels);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < channels; ++c) centred.means[c] += row[c];
  }
  for (double& mean : centred.means) {
    // A NaN or an infinity anywhere in a channel ends up in its mean.
    if (!std::isfinite(mean)) {
      return Error{Errc::kInvalidArgument,
                   "the tensor holds NaN or infinity, which fidelity mode cannot code",
                   "use lossless for it"};
    }
    mean /= static_cast<double>(rows);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < channels; ++c) row[c] = static_cast<float>(row[c] - centred.means[c]);
  }
  centred.energy = energy(values.values) / static_cast<double>(rows);
  centred.transposed = transpose(values);
  return centred;
}

double row_error(const TensorView& a, const TensorView& b) {
  const auto count = static_cast<std::size_t>(a.elements());
  std::vector<float> x(count), y(count);
  to_float(a.data, a.dtype, a.elements(), x.data());
  to_float(b.data, b.dtype, b.elements(), y.data());
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i)
    sum += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]);
  return sum / static_cast<double>(rows_of(a.shape));
}

std::optional<CodedFidelity> encode_fidelity(const FidelityRequest& request, IndexTables& tables) {
  const auto rows = static_cast<std::size_t>(rows_of(request.tensor.shape));
  const double outside = request.projection.outside;
  // Rounding the means may take about that share of the error at which a bit of theirs saves as much as one
  // elsewhere.
  const double mean_share = std::clamp(2 / static_cast<double>(rows), 5e-4, 0.02);
  const FrameQuantiser quantiser(
      {request.projection, request.centred.means, request.prediction, mean_share * request.target_error},
      tables);
  const std::vector<double> left = predicted_variances(request.projection, request.prediction);
  double target = request.target_error;
  double step = plan_rate({left, outside, target, rows}).step;
  if (step == 0) return std::nullopt;

  std::optional<Attempt> best;
  for (int i = 0; i < kMaxAttempts; ++i) {
    std::optional<QuantisedFrame> frame = search(quantiser, target, outside, step);
    if (!frame) break;
    step = frame->params.step;
    Attempt attempt = complete(request, std::move(*frame));
    const double error = attempt.error_ratio * request.target_error;
    if (!best || attempt.badness() < best->badness()) best = std::move(attempt);
    if (best->badness() < kGoodEnough || (i >= kMaxCorrections && best->error_ratio < kAcceptedRatio)) break;
    // What the component domain does not see (rounding to the type, a skew basis) comes off the target. Where
    // the error jumps with the step, only a lower target helps.
    target = i < kMaxCorrections ? std::max(target + request.target_error - error, target / 4) : target * 0.7;
  }
  if (!best) return std::nullopt;
  CodedFidelity coded{.frame = write(request, best->frame, tables),
                      .state = std::move(best->state),
                      .step = best->frame.params.step,
                      .ideal_index_bits = ideal_bits(best->frame),
                      .decoded = std::move(best->decoded)};
  std::memcpy(&coded.state.checksum, coded.frame.data() + coded.frame.size() - kChecksumBytes,
              kChecksumBytes);
  if (best->frame.params.references > 0) coded.state.older = request.prediction.previous->last.components;
  return coded;
}

}  // namespace pinion::codec
