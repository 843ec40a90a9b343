#include "pinion/codec/fidelity_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/base/float_formats.h"
#include "pinion/codec/ideal_bits.h"
#include "pinion/codec/rate_model.h"
#include "pinion/codec/reconstruct.h"

namespace pinion::codec {
namespace {

constexpr int kMaxSearchSteps = 8;
constexpr double kSearchTolerance = 0.008;   // of the error, in the component domain
constexpr int kMaxCorrections = 4;           // with the whole decoder in the loop
constexpr double kAcceptedDeviation = 0.02;  // of the target error: a tenth of a decibel
constexpr double kMeanErrorShare = 0.02;     // of the target error that rounding the means may take

// The step at which the error in the component domain is `target`, by secants of log error over log step.
std::optional<QuantisedFrame> search(const FrameQuantiser& quantiser, double target, double outside,
                                     double step) {
  std::optional<QuantisedFrame> best;
  double last_step = 0, last_error = 0;
  for (int i = 0; i < kMaxSearchSteps; ++i) {
    std::optional<QuantisedFrame> frame = quantiser.quantise(step);
    if (!frame) return best;
    const double error = frame->error;
    if (!best || std::abs(error - target) < std::abs(best->error - target)) best = std::move(frame);
    if (std::abs(error - target) < kSearchTolerance * target) break;
    // Near the outside error the step moves little; then only the rest of the error follows it.
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
  const bool inter = request.prediction.previous != nullptr;
  ByteWriter body;
  write_fidelity_params(body, frame.params, inter);
  const auto rows = static_cast<std::size_t>(rows_of(request.tensor.shape));
  write_index_chunks(body, choose_grid(frame.params.components, rows, frame.bits),
                     {.params = frame.params.components,
                      .rows = rows,
                      .values = frame.residuals,
                      .lead_class = frame.params.mean_class,
                      .lead = frame.mean_residuals},
                     tables);
  FrameHeader header{Mode::kFidelity, request.tensor.dtype, request.tensor.shape, std::nullopt, std::nullopt};
  if (request.fit != nullptr) header.basis = request.fit->basis->id;
  if (inter) header.previous = request.prediction.previous->checksum;
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
    if (!params.coefficients.empty()) params.coefficients.pop_back();
    frame.state.components.resize(params.scales.size() * rows);
  }
  frame.residuals.resize(params.scales.size() * rows);
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
  const FrameQuantiser quantiser(
      {request.projection, request.centred.means, request.prediction, kMeanErrorShare * request.target_error},
      tables);
  const std::vector<double> left = predicted_variances(request.projection, request.prediction);
  double target = request.target_error;
  double step = plan_rate({left, request.projection.outside, target, rows}).step;
  if (step == 0) return std::nullopt;
  for (int i = 0;; ++i) {
    std::optional<QuantisedFrame> frame = search(quantiser, target, request.projection.outside, step);
    if (!frame) return std::nullopt;
    trim(*frame, rows);
    frame->state.rows = rows;
    frame->state.channels = request.centred.means.size();
    if (request.fit != nullptr) frame->state.basis = request.fit->basis->id;
    step = frame->params.step;
    Tensor decoded = to_tensor(
        reconstruct(frame->state, frame->params.step, request.fit ? request.fit->basis.get() : nullptr),
        request.tensor.dtype, request.tensor.shape);
    const double error = row_error(request.tensor, decoded);
    if (std::abs(error - request.target_error) > kAcceptedDeviation * request.target_error &&
        i < kMaxCorrections) {
      // What the component domain does not see (rounding to the type, a skew basis) comes off the target.
      target = std::max(target + request.target_error - error, target * 0.25);
      continue;
    }
    CodedFidelity coded{
        .frame = {}, .state = {}, .step = step, .ideal_index_bits = ideal_bits(*frame), .decoded = decoded};
    coded.frame = write(request, *frame, tables);
    std::memcpy(&frame->state.checksum, coded.frame.data() + coded.frame.size() - kChecksumBytes,
                kChecksumBytes);
    coded.state = std::move(frame->state);
    return coded;
  }
}

}  // namespace pinion::codec
