#pragma once
// The body of a frame of mode 2 (docs/format.md §6) and the integer state that
// frames of a stream share.
//
// Everything here is integers but the step: encoder, decoder and reference
// agree on it bit for bit. Pure functions; a state belongs to one stream.

#include <optional>

#include "pinion/codec/frame_format.h"
#include "pinion/codec/indices/index_chunks.h"

namespace pinion::codec {

inline constexpr int kStateFractionBits = 4;  // states count sixteenths of a step
inline constexpr int kStateOne = 1 << kStateFractionBits;
inline constexpr std::int64_t kMaxState = (1 << 30) - 1;
inline constexpr int kRatioBits = 16;  // fraction bits of the ratio of steps
inline constexpr std::uint64_t kMaxRatio = 1u << 20;
inline constexpr int kMaxMeanShift = 8;

// What the frame says besides the chunks.
struct FidelityParams {
  float step = 1;                                      // of the components, in units of the tensor's values
  int mean_shift = 0;                                  // the step of the means is step / 2^mean_shift
  std::size_t references = 0;                          // earlier frames it predicts from, 0 in key frames
  std::array<std::uint32_t, kMaxReferences> ratios{};  // their steps / step, kRatioBits fraction bits
  std::uint8_t mean_coefficient = 0;
  IndexClass mean_class;
  IndexClass band_class;  // of the map from rows to bands
  ComponentParams components;

  std::size_t component_count() const { return components.scales.size(); }
};

struct FidelityBody {
  FidelityParams params;
  ByteSpan band_map;  // a chunk of one lane; empty if there is one band
  IndexChunks chunks;
};

// One frame's worth of state.
struct FrameState {
  int mean_shift = 0;
  std::vector<std::int32_t> means;       // [channels], in 1 / kStateOne of the mean step
  std::vector<std::int32_t> components;  // [components, rows], in 1 / kStateOne of the step
  std::vector<std::uint8_t> scales;      // [components]
  std::int64_t largest = 0;              // size of a component
};

// After a frame: what both sides know of the stream, and what the next frame
// predicts from.
struct StreamState {
  std::uint32_t checksum = 0;
  std::optional<BasisId> basis;
  std::size_t rows = 0;
  std::size_t channels = 0;
  FrameState last;
  std::vector<std::int32_t> older;  // components of the frame before the last; empty after a key frame
  std::int64_t older_largest = 0;   // size of one of those

  // Components of the reference, newest first.
  const std::vector<std::int32_t>& reference(std::size_t i) const { return i == 0 ? last.components : older; }
  std::int64_t largest(std::size_t i) const { return i == 0 ? last.largest : older_largest; }
};

// `previous` is the state that the frame predicts from, or null.
void write_fidelity_params(ByteWriter& out, const FidelityParams& params, const StreamState* previous);

// `max_components`: of the basis, or the channels where there is none.
// `previous` is the state that the header asks for.
Result<FidelityBody> parse_fidelity(const ParsedFrame& frame, std::size_t max_components,
                                    const StreamState* previous);

// The map from rows to bands as a run of integers: band - kUsualBand.
Bytes encode_band_map(std::span<const std::uint8_t> band_of_row, FidelityParams& params, IndexTables& tables);
Result<RowBands> decode_band_map(const FidelityBody& body, std::size_t rows, IndexTables& tables);

// Predictions in state units, from the integers alone.
class Predictor {
 public:
  // `previous` may be null if there are no references.
  Predictor(const FidelityParams& params, const StreamState* previous);

  void component(std::size_t k, std::span<std::int64_t> out) const;  // [rows]
  // The fast way, for when no prediction can leave the range of a state: `largest` is the largest size of a
  // component in each reference.
  void component(std::size_t k, std::span<std::int32_t> out) const;
  bool stays_in_range(const std::array<std::int64_t, kMaxReferences>& largest) const;
  void means(std::span<std::int64_t> out) const;  // [channels]

 private:
  const FidelityParams& params_;
  const StreamState* previous_;
};

// The state after a residual of `residual` on a prediction; out of range if its
// size exceeds kMaxState.
inline std::int64_t next_state(std::int64_t prediction, std::int32_t residual, BinOffsets offsets) {
  const int offset = residual == 0 ? 0 : (residual == 1 || residual == -1) ? offsets.one : offsets.more;
  return prediction + std::int64_t{residual} * kStateOne - (residual > 0 ? offset : -offset);
}

// Residuals in coded order to the state in row order, whatever the prediction. kBadFormat if a state
// leaves its range.
struct ComponentStep {
  const ComponentParams& params;
  std::size_t component;
  const RowBands& bands;
  std::span<const std::int64_t> prediction;  // by row
  std::span<const std::int32_t> residuals;   // in coded order
};
Result<void> advance_component(const ComponentStep& step, std::span<std::int32_t> state);
Result<void> advance_means(std::span<const std::int64_t> prediction, std::span<const std::int32_t> residuals,
                           std::span<std::int32_t> state);

}  // namespace pinion::codec
