#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/fidelity/reconstruct.h"

namespace pinion::codec {
namespace {

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
  PINION_TRY_VOID(check_calibrated_fit(frame.header, calibration));
  if (frame.header.shape.elements() == 0) {
    state_.reset();
    return Tensor::empty(frame.header.dtype, frame.header.shape);
  }
  const CalibratedState* state = frame.header.previous && state_ ? &*state_ : nullptr;
  PINION_TRY_VOID(check_calibrated_previous(frame.header,
                                            state == nullptr ? std::nullopt : std::optional(state->checksum),
                                            state == nullptr ? 0 : state->components.columns));
  PINION_TRY(const CalibratedBody body, parse_calibrated(frame, calibration));
  const auto rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  PINION_TRY_VOID(check_latents(body.params, rows * calibration.latents(), context.latents.size(),
                                context.previous_latents.size()));

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
