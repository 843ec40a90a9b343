#include "pinion/codec/fidelity/fidelity_decoder.h"

#include <algorithm>

#include "pinion/codec/indices/row_offsets.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kDecodedTogether = 16;  // components that are one piece of work

// From residuals in coded order to the components of `state`.
Result<void> advance_components(const FidelityParams& params, const RowBands& bands,
                                std::span<const std::int32_t> residuals, const StreamState* previous,
                                ChunkPool& pool, StreamState& state) {
  const std::size_t rows = state.rows;
  const Predictor predictor(params, previous);
  std::array<std::int64_t, kMaxReferences> largest{};
  for (std::size_t i = 0; i < params.references; ++i) largest[i] = previous->largest(i);
  if (!predictor.stays_in_range(largest)) {
    std::vector<std::int64_t> prediction(rows);
    for (std::size_t k = 0; k < params.component_count(); ++k) {
      predictor.component(k, std::span(prediction));
      PINION_TRY_VOID(advance_component({.params = params.components,
                                         .component = k,
                                         .bands = bands,
                                         .prediction = prediction,
                                         .residuals = residuals.subspan(k * rows, rows)},
                                        std::span(state.last.components).subspan(k * rows, rows)));
    }
    state.last.largest = kMaxState;
    return {};
  }
  const std::vector<std::uint8_t> band_of_row = bands.band_of_row();
  const RowOffsets offsets(params.components, band_of_row, rows);
  std::vector<std::int32_t> predictions(rows * pool.threads()), sorted(rows * pool.threads());
  std::vector<std::int32_t> largest_of(pool.threads());
  pool.run_in_groups(params.component_count(), kDecodedTogether, [&](std::size_t k, std::size_t worker) {
    const auto prediction = std::span(predictions).subspan(worker * rows, rows);
    predictor.component(k, prediction);
    std::span<const std::int32_t> by_row = residuals.subspan(k * rows, rows);
    if (bands.count() > 1) {
      const auto own = std::span(sorted).subspan(worker * rows, rows);
      bands.unsort(by_row, own);
      by_row = own;
    }
    const std::int32_t* of_row = offsets.of(k);
    const Advanced advanced = vector_loops().advance({.exact = nullptr,
                                                      .prediction = prediction.data(),
                                                      .residuals = by_row.data(),
                                                      .ones_offset = of_row,
                                                      .more_offset = of_row + rows,
                                                      .count = rows},
                                                     state.last.components.data() + k * rows);
    largest_of[worker] = std::max(largest_of[worker], advanced.largest);
  });
  const std::int32_t most = *std::ranges::max_element(largest_of);
  state.last.largest = most;
  if (most <= kMaxState) return {};
  return Error{Errc::kBadFormat, "fidelity frame: a value leaves the range of the state", ""};
}

}  // namespace

Result<void> check_previous(const FrameHeader& header, const StreamState* previous) {
  if (!header.previous) return {};
  if (previous == nullptr || previous->checksum != *header.previous) {
    return previous_frame_not_here();
  }
  if (previous->basis != header.basis || previous->rows != static_cast<std::size_t>(rows_of(header.shape)) ||
      previous->channels != static_cast<std::size_t>(channels_of(header.shape))) {
    return Error{Errc::kBadFormat, "coded frame predicts from a frame of another shape or basis", ""};
  }
  return {};
}

Result<StreamState> decode_state(const ParsedFrame& frame, const FidelityBody& body,
                                 const StreamState* previous, IndexTables& tables, ChunkPool& pool) {
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
  if (params.references > 0) {
    state.older = previous->last.components;
    state.older_largest = previous->last.largest;
  }

  PINION_TRY(const RowBands bands, decode_band_map(body, state.rows, tables));
  std::vector<std::int32_t> residuals(state.last.components.size());
  PINION_TRY_VOID(decode_index_chunks(body.chunks,
                                      {.params = params.components,
                                       .band_ends = bands.ends(),
                                       .values = residuals,
                                       .lead_class = params.mean_class,
                                       .lead = state.last.means},
                                      tables, pool));
  const Predictor predictor(params, previous);
  std::vector<std::int64_t> prediction(state.channels);
  predictor.means(prediction);
  PINION_TRY_VOID(advance_means(prediction, state.last.means, state.last.means));
  PINION_TRY_VOID(advance_components(params, bands, residuals, previous, pool, state));
  return state;
}

Result<DecodedFrame> decode_fidelity(const ParsedFrame& frame, const Basis* basis,
                                     const StreamState* previous, IndexTables& tables, ChunkPool& pool) {
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
  DecodedFrame decoded;
  PINION_TRY(decoded.state, decode_state(frame, body, previous, tables, pool));
  decoded.tensor = reconstruct(
      {.state = decoded.state.last, .rows = decoded.state.rows, .step = body.params.step, .basis = basis},
      frame.header.dtype, frame.header.shape, pool);
  return decoded;
}

}  // namespace pinion::codec
