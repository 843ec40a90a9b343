#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/fidelity/reconstruct.h"

namespace pinion::codec {
namespace {

Result<void> check_fit(const FrameHeader& header, const Calibration& calibration) {
  if (header.mode != Mode::kCalibrated) {
    return Error{Errc::kInvalidArgument,
                 "a frame of mode " + std::string(name(header.mode)) +
                     " was given to the decoder of calibrated frames",
                 ""};
  }
  if (header.shape.elements() == 0) return {};
  if (!header.basis) return Error{Errc::kBadFormat, "calibrated frame names no calibration", ""};
  if (header.basis != calibration.id) {
    return Error{
        Errc::kNotFound,
        "coded frame needs calibration " + to_hex(*header.basis) + ", here is " + to_hex(calibration.id),
        "use the same calibration on both sides"};
  }
  if (channels_of(header.shape) != static_cast<std::int64_t>(calibration.channels())) {
    return Error{Errc::kBadFormat,
                 "coded frame has " + std::to_string(channels_of(header.shape)) +
                     " channels, its calibration " + std::to_string(calibration.channels()),
                 ""};
  }
  return {};
}

Result<void> check_previous(const FrameHeader& header, const CalibratedState* state) {
  if (!header.previous) return {};
  if (state == nullptr || state->checksum != *header.previous) {
    return previous_frame_not_here();
  }
  if (state->components.columns != static_cast<std::size_t>(rows_of(header.shape))) {
    return Error{Errc::kBadFormat, "coded frame predicts from a frame of another shape", ""};
  }
  return {};
}

Result<void> check_context(const CalibratedParams& params, const StepContext& context, std::size_t values) {
  if (context.latents.size() != values) {
    return Error{Errc::kInvalidArgument,
                 "a calibrated frame of " + std::to_string(values) + " latent values was given " +
                     std::to_string(context.latents.size()),
                 ""};
  }
  if (params.uses_history() && context.previous_latents.size() != values) {
    return Error{Errc::kNotFound, "coded frame predicts from latents of the step before, which are not here",
                 "ask the sender to restart the stream"};
  }
  return {};
}

// [rows, channels]
Matrix rebuild(const Calibration& calibration, const RecordAt& record, const Matrix& components,
               const Matrix& centred) {
  Matrix known = components;
  known.values.insert(known.values.end(), centred.values.begin(), centred.values.end());
  known.rows += centred.rows;
  Matrix values = multiply_transposed(known, calibration.reconstruction);
  for (std::size_t r = 0; r < values.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] += record.mean[c];
  }
  return values;
}

}  // namespace

Result<Tensor> CalibratedDecoder::decode(ByteSpan bytes, const StepContext& context,
                                         const DecodeLimits& limits) {
  const Calibration& calibration = *calibration_;
  PINION_TRY(const ParsedFrame frame, parse_frame(bytes, limits));
  PINION_TRY_VOID(verify_checksum(bytes));
  PINION_TRY_VOID(check_fit(frame.header, calibration));
  if (frame.header.shape.elements() == 0) {
    state_.reset();
    return Tensor::empty(frame.header.dtype, frame.header.shape);
  }
  const CalibratedState* state = frame.header.previous && state_ ? &*state_ : nullptr;
  PINION_TRY_VOID(check_previous(frame.header, state));
  PINION_TRY(const CalibratedBody body, parse_calibrated(frame, calibration));
  const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  PINION_TRY_VOID(check_context(body.params, context, rows * calibration.latents()));

  PINION_TRY(const RowBands bands, decode_bands(body.params.bands, body.band_map, rows,
                                                state == nullptr ? nullptr : &state->band_of_row, tables_));
  std::vector<std::int32_t> indices(calibration.components() * rows);
  PINION_TRY_VOID(decode_index_chunks(
      body.chunks, {.params = body.components, .band_ends = bands.ends(), .values = indices}, tables_));

  const RecordAt record = record_at(calibration, body.params.position, body.params.predictor);
  const Matrix centred = centred_latents(record, context.latents);
  Matrix components = predict(record, body.params, context, centred, state, rows);
  advance_components(body.params, bands, indices, components);
  Tensor tensor =
      to_tensor(rebuild(calibration, record, components, centred), frame.header.dtype, frame.header.shape);
  state_.emplace(CalibratedState{frame.checksum, std::move(components), bands.band_of_row()});
  return tensor;
}

}  // namespace pinion::codec
