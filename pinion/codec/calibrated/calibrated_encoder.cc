#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/codec/calibrated/low_frequencies.h"
#include "pinion/codec/calibrated/low_frequency_plan.h"
#include "pinion/codec/calibrated/row_products.h"
#include "pinion/codec/math/all_finite.h"

namespace pinion::codec {
namespace {

constexpr double kMaxTargetDb = 200;
constexpr double kCloseEnough = 0.02;  // of the error or the bits to the target: no correction is worth it
constexpr double kMaxSnrDb = 300;
constexpr std::size_t kFrameOverhead = 64;  // header, parameters and chunk sizes of a frame, about
// Of the calibrated energy of what history leaves: above it, the latents alone may predict better. Samplers
// that add noise are such a case: what changed from step to step is then no velocity.
constexpr double kHistoryMisses = 4;
// Of what tokens cost, what coefficients may be expected to: their classes know the spectrum of the mean
// component only, so they save less than expected.
constexpr double kTransformPays = 0.93;

Error misfit(std::string_view what) {
  return Error{Errc::kInvalidArgument, "calibrated coding: " + std::string(what), ""};
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

bool is_possible(const CalibratedTarget& target) {
  return target.frame_bytes > 0 || (target.output_snr_db > 0 && target.output_snr_db <= kMaxTargetDb);
}

// The target in the units of the quantiser: output error energy of its components, or bits.
struct Goal {
  bool is_bits = false;
  double value = 0;

  int step_of(const StepPlanner& planner) const {
    return is_bits ? planner.step_for_bits(value) : planner.step_for_error(value);
  }
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
  return {false, allowed_component_error(target.output_snr_db, output_rows * record.output_energy,
                                         plan.weight_sum * record.floor)};
}

// Whether what prediction left is far from what the calibration says.
bool misses(const Matrix& residual, const RecordAt& record) {
  double found = 0, expected = 0;
  for (std::size_t k = 0; k < residual.rows; ++k) {
    found += static_cast<double>(record.gain[k]) * energy(residual.row(k));
    expected += static_cast<double>(record.gain[k] * residual.columns) *
                std::exp2(2.0 * (record.levels[k] - kLevelZero) / kLevelsPerOctave);
  }
  return found > kHistoryMisses * expected;
}

double snr_db(double signal, double error) {
  if (signal <= error * std::pow(10, -kMaxSnrDb / 10)) return -kMaxSnrDb;
  return error <= signal * std::pow(10, -kMaxSnrDb / 10) ? kMaxSnrDb : 10 * std::log10(signal / error);
}

}  // namespace

class CalibratedEncoder::Stream {
 public:
  Stream(std::shared_ptr<const Calibration> calibration, const CalibratedTarget& target, int threads)
      : calibration_(std::move(calibration)),
        target_(target),
        pool_(threads),
        products_(*calibration_, pool_) {}

  Result<CalibratedFrame> encode(const TensorView& tensor, const StepContext& context);
  std::vector<float> correction(const TensorView& tensor, const StepContext& context);
  void restart() {
    state_.reset();
    is_last_coded_ = false;
  }
  void set_target(const CalibratedTarget& target) { target_ = target; }

 private:
  bool predict(const TensorView& tensor, const StepContext& context, const CalibratedParams& params);
  double expected_cost(const Matrix& residual, const RowPlan& plan, const Goal& goal) const;
  RowPlan plan_layout(const StepContext& context);
  bool meet(const RowPlan& plan, const Goal& goal, const CalibratedParams& params);

  std::shared_ptr<const Calibration> calibration_;
  CalibratedTarget target_;
  ChunkPool pool_;
  RowProducts products_;
  IndexTables tables_;
  std::optional<CalibratedState> state_;
  bool is_last_coded_ = false;  // whether state_, record_ and quantised_ are of one frame, the last
  // Of the last frame, for their memory:
  CalibratedState next_;
  RecordAt record_;
  Matrix residual_, transformed_;
  std::vector<double> loudness_;
  QuantisedComponents quantised_, other_;
  std::optional<QuantisedComponents> low_;  // low frequencies, if they are coded in front
};

// Fills record_, next_.components with the prediction of y, and residual_. False if a value is out of range.
bool CalibratedEncoder::Stream::predict(const TensorView& tensor, const StepContext& context,
                                        const CalibratedParams& params) {
  const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
  const bool carried = params.uses_history() && calibration_->has_history;
  record_at(*calibration_, params.position, params.predictor, record_);
  products_.predict(record_, params, context, carried ? &*state_ : nullptr, rows, next_.components);
  return products_.project(tensor, record_, next_.components, residual_, loudness_);
}

// What a residual will cost: bits at the target, or errors at the budget.
double CalibratedEncoder::Stream::expected_cost(const Matrix& residual, const RowPlan& plan,
                                                const Goal& goal) const {
  const StepPlanner planner(residual, record_.gain, plan);
  const int step = goal.step_of(planner);
  return goal.is_bits ? planner.error(step) : planner.bits(step);
}

// How the rows are coded, and residual_ made so: in coded order, without what low_ says. Where the rows are
// tokens of pictures, all heard alike, coefficients may take fewer bits; where they are not, low frequencies
// of the residual may, in front of the rows.
RowPlan CalibratedEncoder::Stream::plan_layout(const StepContext& context) {
  const std::size_t rows = residual_.columns;
  RowPlan plan = plan_rows(record_, loudness_);
  low_.reset();
  const bool is_picture = calibration_->latents() > 0 && is_whole_pictures(rows, context.grid);
  if (is_picture && !record_.loudness.empty()) {
    transformed_ = residual_;
    plan.bands.sort_runs(std::span(transformed_.values));
    const Goal goal = goal_of(target_, record_, plan, static_cast<double>(context.output_rows));
    const StepPlanner planner(transformed_, record_.gain, plan);
    low_ = take_out_low_frequencies(residual_, context.grid, plan, planner, goal.step_of(planner), record_,
                                    tables_, pool_);
    if (!low_) {
      std::swap(residual_, transformed_);
      return plan;
    }
  } else if (is_picture) {
    RowPlan coefficients = plan_coefficients(context.grid, rows);
    transformed_ = residual_;
    transform_rows(context.grid, coefficients.bands, pool_, transformed_);
    const Goal goal = goal_of(target_, record_, plan, static_cast<double>(context.output_rows));
    if (expected_cost(transformed_, coefficients, goal) <
        kTransformPays * expected_cost(residual_, plan, goal)) {
      std::swap(residual_, transformed_);
      return coefficients;
    }
  }
  plan.bands.sort_runs(std::span(residual_.values));
  return plan;
}

// Fills quantised_: planned by the deviations of the components, and corrected at most once by how far the
// indices are from that plan. False if no index of any step is in range.
bool CalibratedEncoder::Stream::meet(const RowPlan& plan, const Goal& goal, const CalibratedParams& params) {
  const StepPlanner planner(residual_, record_.gain, plan);
  const auto quantise_at = [&](int step_log2, QuantisedComponents& result) {
    CalibratedParams with = params;
    with.step_log2 = static_cast<std::int16_t>(std::clamp(step_log2, kMinStepLog2, kMaxStepLog2));
    return quantise_components(residual_, record_, plan, with, tables_, pool_, result);
  };
  const int planned = goal.step_of(planner);
  if (!quantise_at(planned, quantised_)) return quantise_at(planner.coarsest(), quantised_);
  const double reached = goal.of(quantised_);
  if (std::abs(reached - goal.value) <= kCloseEnough * goal.value) return true;
  int corrected = planner.coarsest();
  if (goal.is_bits) {
    // Bits depend on the deviations over the step: what these bits would have been expected at tells by how
    // much the deviations are as good as larger.
    corrected = planned + planned - planner.step_for_bits(reached);
  } else if (reached > 0) {
    corrected = planner.step_for_error(goal.value * planner.error(planned) / reached);
  }
  if (corrected != planned && quantise_at(corrected, other_)) std::swap(quantised_, other_);
  return true;
}

Result<CalibratedFrame> CalibratedEncoder::Stream::encode(const TensorView& tensor,
                                                          const StepContext& context) {
  const Calibration& calibration = *calibration_;
  is_last_coded_ = false;
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
  bool in_range = predict(tensor, context, params);
  if (in_range && params.uses_history() && calibration.latents() > 0 && misses(residual_, record_)) {
    const auto cost_of_residual = [&] {
      const RowPlan alike = plan_rows(record_, loudness_);
      return expected_cost(residual_, alike,
                           goal_of(target_, record_, alike, static_cast<double>(context.output_rows)));
    };
    const CalibratedParams by_history = params;
    const double cost = cost_of_residual();
    params = CalibratedParams();
    params.position = by_history.position;
    in_range = predict(tensor, context, params);
    if (!in_range || cost_of_residual() >= cost) {
      params = by_history;
      in_range = predict(tensor, context, params);
    }
  }
  if (!in_range) {
    return misfit("the tensor holds NaN or infinity, or is out of the range of the calibration");
  }
  const CalibratedState* state = params.uses_history() && calibration.has_history ? &*state_ : nullptr;

  const RowPlan plan = plan_layout(context);
  Goal goal = goal_of(target_, record_, plan, static_cast<double>(context.output_rows));
  params.has_low = low_.has_value();
  if (low_ && goal.is_bits) goal.value = std::max(0.0, goal.value - low_frequency_bits(*low_));
  if (!meet(plan, goal, params)) return misfit("the tensor is out of the range of the calibration");

  params = quantised_.params;
  const double signal = static_cast<double>(context.output_rows) * record_.output_energy;
  const double error = quantised_.error + plan.weight_sum * record_.floor;
  result.stats.predicted_output_snr_db = snr_db(signal, error);
  params.output_snr = static_cast<std::int16_t>(std::lround(100 * result.stats.predicted_output_snr_db));
  header.basis = calibration.id;
  if (state != nullptr) header.previous = state->checksum;
  ByteWriter body;
  write_calibrated_params(body, params, params.uses_history() && calibration.latents() > 0);
  if (params.layout == RowLayout::kBands) {
    write_bands(body, params.bands, plan.bands, state == nullptr ? nullptr : &state->band_of_row, tables_);
  } else if (params.layout == RowLayout::kCoefficients) {
    write_grid(body, params.grid);
    write_band_scales(body, params.bands);
  }
  if (low_) {
    write_low_frequencies(body, record_.levels, rows, low_->params, low_->classes, low_->indices, low_->bits,
                          tables_, pool_);
    add_low_frequencies(low_->params, low_->indices, pool_, next_.components);
  }
  if (params.has_scales) write_scales(body, record_.levels, params, quantised_.classes);
  const IndexMatrix matrix{
      .params = quantised_.classes, .band_ends = plan.bands.ends(), .values = quantised_.indices};
  write_index_chunks(body, choose_grid(quantised_.classes, rows, quantised_.bits), matrix, tables_, pool_);
  result.frame = write_frame(header, body.view());

  std::memcpy(&next_.checksum, result.frame.data() + result.frame.size() - kChecksumBytes, kChecksumBytes);
  advance_components(params, plan.bands, quantised_.indices, pool_, next_.components);
  next_.band_of_row = bands_left_by(params, plan.bands);
  if (!state_) state_.emplace();
  std::swap(*state_, next_);
  is_last_coded_ = true;
  result.stats.frame_bytes = result.frame.size();
  result.stats.coded_bits = quantised_.bits + (low_ ? low_->bits : 0);
  result.stats.ideal_index_bits = quantised_.ideal_bits + (low_ ? low_->ideal_bits : 0);
  result.stats.step = static_cast<double>(params.step(0));
  result.stats.key_frame = !params.uses_history();
  return result;
}

std::vector<float> CalibratedEncoder::Stream::correction(const TensorView& tensor,
                                                         const StepContext& context) {
  if (!calibration_->has_response || !is_last_coded_) return {};
  if (!check_input(tensor, context, *calibration_).ok() ||
      state_->components.columns != static_cast<std::size_t>(rows_of(tensor.shape))) {
    return {};
  }
  const Matrix response = response_at(*calibration_, quantised_.params.position);
  return products_.respond(tensor, record_, response, context, state_->components);
}

CalibratedEncoder::CalibratedEncoder(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
CalibratedEncoder::CalibratedEncoder(CalibratedEncoder&&) noexcept = default;
CalibratedEncoder& CalibratedEncoder::operator=(CalibratedEncoder&&) noexcept = default;
CalibratedEncoder::~CalibratedEncoder() = default;

Result<CalibratedEncoder> CalibratedEncoder::create(std::shared_ptr<const Calibration> calibration,
                                                    const CalibratedTarget& target, int threads) {
  if (!is_possible(target)) {
    return misfit("the target must be more than 0 and at most 200 dB");
  }
  return CalibratedEncoder(std::make_unique<Stream>(std::move(calibration), target, threads));
}

Result<CalibratedFrame> CalibratedEncoder::encode(const TensorView& tensor, const StepContext& context) {
  return stream_->encode(tensor, context);
}

std::vector<float> CalibratedEncoder::correction(const TensorView& tensor, const StepContext& context) {
  return stream_->correction(tensor, context);
}

void CalibratedEncoder::restart() { stream_->restart(); }

void CalibratedEncoder::set_target(const CalibratedTarget& target) {
  PINION_ASSERT(is_possible(target));
  stream_->set_target(target);
}

}  // namespace pinion::codec
