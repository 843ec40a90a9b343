#include "pinion/codec/fidelity_decoder.h"

namespace pinion::codec {

Result<void> check_previous(const FrameHeader& header, const StreamState* previous) {
  if (!header.previous) return {};
  if (previous == nullptr || previous->checksum != *header.previous) {
    return Error{Errc::kNotFound, "coded frame predicts from a frame that is not here",
                 "ask the sender to restart the stream"};
  }
  if (previous->basis != header.basis || previous->rows != static_cast<std::size_t>(rows_of(header.shape)) ||
      previous->channels != static_cast<std::size_t>(channels_of(header.shape))) {
    return Error{Errc::kBadFormat, "coded frame predicts from a frame of another shape or basis", ""};
  }
  return {};
}

Result<StreamState> decode_state(const ParsedFrame& frame, const FidelityBody& body,
                                 const StreamState* previous, IndexTables& tables) {
  const FidelityParams& params = body.params;
  StreamState state;
  state.checksum = frame.checksum;
  state.basis = frame.header.basis;
  state.rows = static_cast<std::size_t>(rows_of(frame.header.shape));
  state.channels = static_cast<std::size_t>(channels_of(frame.header.shape));
  state.last.mean_shift = params.mean_shift;
  state.last.scales = params.components.scales;
  state.last.means.resize(state.channels);
  state.last.components.resize(params.component_count() * state.rows);
  if (params.references > 0) state.older = previous->last.components;

  PINION_TRY(const RowBands bands, decode_band_map(body, state.rows, tables));
  std::vector<std::int32_t> residuals(state.last.components.size());
  PINION_TRY_VOID(decode_index_chunks(body.chunks,
                                      {.params = params.components,
                                       .band_ends = bands.ends(),
                                       .values = residuals,
                                       .lead_class = params.mean_class,
                                       .lead = state.last.means},
                                      tables));
  const Predictor predictor(params, previous);
  std::vector<std::int64_t> prediction(state.channels);
  predictor.means(prediction);
  PINION_TRY_VOID(advance_means(prediction, state.last.means, state.last.means));
  prediction.resize(state.rows);
  for (std::size_t k = 0; k < params.component_count(); ++k) {
    predictor.component(k, prediction);
    PINION_TRY_VOID(advance_component({.params = params.components,
                                       .component = k,
                                       .bands = bands,
                                       .prediction = prediction,
                                       .residuals = std::span(residuals).subspan(k * state.rows, state.rows)},
                                      std::span(state.last.components).subspan(k * state.rows, state.rows)));
  }
  return state;
}

Result<DecodedFrame> decode_fidelity(const ParsedFrame& frame, const Basis* basis,
                                     const StreamState* previous, IndexTables& tables) {
  DecodedFrame decoded;
  if (frame.header.shape.elements() == 0) {
    decoded.tensor = Tensor::empty(frame.header.dtype, frame.header.shape);
    decoded.state.checksum = frame.checksum;
    return decoded;
  }
  const auto channels = static_cast<std::size_t>(channels_of(frame.header.shape));
  if (basis != nullptr && basis->rows.columns != channels) {
    return Error{Errc::kBadFormat,
                 "coded frame has " + std::to_string(channels) + " channels, its basis " +
                     std::to_string(basis->rows.columns),
                 ""};
  }
  PINION_TRY_VOID(check_previous(frame.header, previous));
  PINION_TRY(const FidelityBody body,
             parse_fidelity(frame, basis == nullptr ? channels : basis->rows.rows, previous));
  PINION_TRY(decoded.state, decode_state(frame, body, previous, tables));
  decoded.tensor = reconstruct({.state = decoded.state.last,
                                .rows = decoded.state.rows,
                                .step = body.params.step,
                                .basis = basis},
                               frame.header.dtype, frame.header.shape);
  return decoded;
}

}  // namespace pinion::codec
