#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "pinion/base/float_formats.h"
#include "pinion/codec/calibrated/calibrated_quantiser.h"

namespace pinion::codec {
namespace {

constexpr double kMaxTargetDb = 200;
constexpr double kCloseEnough = 0.02;  // of the error or the bits to the target: no correction is worth it
constexpr double kMaxSnrDb = 300;
constexpr std::size_t kFrameOverhead = 64;  // header, parameters and chunk sizes of a frame, about
// Where even exact components would miss the target, they get this share of what is left anyway: more bits
// would change the output by less than half a decibel.
constexpr double kLeastShareOfFloor = 0.1;

Error misfit(std::string_view what) {
  return Error{Errc::kInvalidArgument, "calibrated coding: " + std::string(what), ""};
}

bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  bool bad = false;
  for (const float value : values) bad |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent;
  return !bad;
}

Result<void> check_input(const TensorView& tensor, const StepContext& context,
                         const Calibration& calibration) {
  if (!tensor.device.is_cpu()) return misfit("the tensor is not on the CPU");
  if (tensor.dtype != DType::kF32 && tensor.dtype != DType::kF16 && tensor.dtype != DType::kBF16) {
    return misfit("the tensor is of type " + std::string(name(tensor.dtype)));
  }
  if (channels_of(tensor.shape) != static_cast<std::int64_t>(calibration.channels())) {
    return misfit("the tensor has shape " + to_string(tensor.shape) + ", the calibration " +
                  std::to_string(calibration.channels()) + " channels");
  }
  const std::size_t values = static_cast<std::size_t>(rows_of(tensor.shape)) * calibration.latents();
  if (context.latents.size() != values ||
      (!context.previous_latents.empty() && context.previous_latents.size() != values)) {
    return misfit("the latents have another number of values than " + std::to_string(values));
  }
  if (!(context.sigma >= 0 && context.sigma <= 1)) return misfit("sigma is outside [0, 1]");
  if (context.output_rows <= 0) return misfit("the output has no rows");
  if (!all_finite(context.latents) || !all_finite(context.previous_latents)) {
    return misfit("the latents hold NaN or infinity");
  }
  return {};
}

// [channels, rows] without the means; nothing if a value is not finite.
std::optional<Matrix> centred_tensor(const TensorView& tensor, std::span<const float> means) {
  Matrix values(static_cast<std::size_t>(rows_of(tensor.shape)), means.size());
  to_float(tensor.data, tensor.dtype, tensor.elements(), values.values.data());
  for (std::size_t r = 0; r < values.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] -= means[c];
  }
  if (!all_finite(values.values)) return std::nullopt;
  return transpose(values);
}

// Columns in the coded order of `bands`.
Matrix in_coded_order(const RowBands& bands, Matrix by_row) {
  if (bands.count() == 1) return by_row;
  Matrix coded(by_row.rows, by_row.columns);
  for (std::size_t k = 0; k < by_row.rows; ++k) {
    bands.sort(std::span<const float>(by_row.row(k)), coded.row(k));
  }
  return coded;
}

// The target in the units of the quantiser: output error energy of its components, or bits.
struct Goal {
  bool is_bits = false;
  double value = 0;

  double of(const QuantisedComponents& quantised) const {
    return is_bits ? quantised.bits + quantised.scale_bits : quantised.error;
  }
};

Goal goal_of(const CalibratedTarget& target, const RecordAt& record, const RowPlan& plan,
             double output_rows) {
  if (target.frame_bytes > 0) {
    const std::size_t left = target.frame_bytes - std::min(target.frame_bytes / 2, kFrameOverhead);
    return {true, 8.0 * static_cast<double>(left)};
  }
  const double allowed = output_rows * record.output_energy * std::pow(10, -target.output_snr_db / 10);
  const double outside = plan.weight_sum * record.floor;
  return {false, std::max(allowed - outside, kLeastShareOfFloor * std::min(allowed, outside))};
}

// Planned by the deviations of the components, and corrected at most once by how far the indices are from
// that plan.
std::optional<QuantisedComponents> meet(const Goal& goal, const Matrix& residual, const RecordAt& record,
                                        const RowPlan& plan, CalibratedParams params, IndexTables& tables) {
  const StepPlanner planner(residual, record.gain, plan);
  const auto quantise_at = [&](int step_log2) {
    params.step_log2 = static_cast<std::int16_t>(std::clamp(step_log2, kMinStepLog2, kMaxStepLog2));
    return quantise_components(residual, record, plan, params, tables);
  };
  const int planned = goal.is_bits ? planner.step_for_bits(goal.value) : planner.step_for_error(goal.value);
  std::optional<QuantisedComponents> quantised = quantise_at(planned);
  if (!quantised) return quantise_at(planner.coarsest());
  const double reached = goal.of(*quantised);
  if (std::abs(reached - goal.value) <= kCloseEnough * goal.value) return quantised;
  int corrected = planner.coarsest();
  if (goal.is_bits) {
    // Bits depend on the deviations over the step: what these bits would have been expected at tells by how
    // much the deviations are as good as larger.
    corrected = planned + planned - planner.step_for_bits(reached);
  } else if (reached > 0) {
    corrected = planner.step_for_error(goal.value * planner.error(planned) / reached);
  }
  if (corrected == planned) return quantised;
  std::optional<QuantisedComponents> again = quantise_at(corrected);
  return again ? std::move(again) : std::move(quantised);
}

double snr_db(double signal, double error) {
  if (signal <= error * std::pow(10, -kMaxSnrDb / 10)) return -kMaxSnrDb;
  return error <= signal * std::pow(10, -kMaxSnrDb / 10) ? kMaxSnrDb : 10 * std::log10(signal / error);
}

}  // namespace

Result<CalibratedEncoder> CalibratedEncoder::create(std::shared_ptr<const Calibration> calibration,
                                                    const CalibratedTarget& target) {
  if (target.frame_bytes == 0 && !(target.output_snr_db > 0 && target.output_snr_db <= kMaxTargetDb)) {
    return misfit("the target must be more than 0 and at most 200 dB");
  }
  return CalibratedEncoder(std::move(calibration), target);
}

Result<CalibratedFrame> CalibratedEncoder::encode(const TensorView& tensor, const StepContext& context) {
  const Calibration& calibration = *calibration_;
  PINION_TRY_VOID(check_input(tensor, context, calibration));
  FrameHeader header{Mode::kCalibrated, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
  CalibratedFrame result;
  result.stats.tensor_bytes = tensor.bytes();
  result.stats.elements = tensor.elements();
  if (tensor.elements() == 0) {
    state_.reset();
    result.frame = write_frame(header, {});
    result.stats.frame_bytes = result.frame.size();
    result.stats.predicted_output_snr_db = kMaxSnrDb;
    return result;
  }
  const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
  CalibratedParams params =
      first_params(calibration, {context.sigma, context.previous_sigma, !context.previous_latents.empty(),
                                 state_.has_value() && state_->components.columns == rows});
  const CalibratedState* state = params.uses_history() && calibration.has_history ? &*state_ : nullptr;
  const RecordAt record = record_at(calibration, params.position, params.predictor);

  const std::optional<Matrix> centred = centred_tensor(tensor, record.mean);
  if (!centred) return misfit("the tensor holds NaN or infinity");
  Matrix prediction = predict(record, params, context, centred_latents(record, context.latents), state, rows);
  Matrix residual = multiply_transposed(calibration.projection, *centred);
  for (std::size_t i = 0; i < residual.values.size(); ++i) residual.values[i] -= prediction.values[i];
  if (!all_finite(residual.values)) return misfit("the tensor is out of the range of the calibration");

  const RowPlan plan = plan_rows(record, *centred);
  residual = in_coded_order(plan.bands, std::move(residual));
  const Goal goal = goal_of(target_, record, plan, static_cast<double>(context.output_rows));
  std::optional<QuantisedComponents> quantised = meet(goal, residual, record, plan, params, tables_);
  if (!quantised) return misfit("the tensor is out of the range of the calibration");

  params = quantised->params;
  const double signal = static_cast<double>(context.output_rows) * record.output_energy;
  const double error = quantised->error + plan.weight_sum * record.floor;
  result.stats.predicted_output_snr_db = snr_db(signal, error);
  params.output_snr = static_cast<std::int16_t>(std::lround(100 * result.stats.predicted_output_snr_db));
  header.basis = calibration.id;
  if (state != nullptr) header.previous = state->checksum;
  ByteWriter body;
  write_calibrated_params(body, params, params.uses_history() && calibration.latents() > 0);
  if (params.bands.count > 1) {
    write_bands(body, params.bands, plan.bands, state == nullptr ? nullptr : &state->band_of_row, tables_);
  }
  if (params.has_scales) write_scales(body, record.levels, params, quantised->classes);
  write_index_chunks(
      body, choose_grid(quantised->classes, rows, quantised->bits),
      {.params = quantised->classes, .band_ends = plan.bands.ends(), .values = quantised->indices}, tables_);
  result.frame = write_frame(header, body.view());

  CalibratedState next;
  std::memcpy(&next.checksum, result.frame.data() + result.frame.size() - kChecksumBytes, kChecksumBytes);
  advance_components(params, plan.bands, quantised->indices, prediction);
  next.components = std::move(prediction);
  next.band_of_row = plan.bands.band_of_row();
  state_ = std::move(next);
  result.stats.frame_bytes = result.frame.size();
  result.stats.coded_bits = quantised->bits;
  result.stats.step = params.step(0);
  result.stats.key_frame = !params.uses_history();
  return result;
}

}  // namespace pinion::codec
