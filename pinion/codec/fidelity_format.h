#pragma once
// The body of a frame of mode 2 (docs/format.md §6) and the integer state that frames of a stream share.
//
// Everything here is integers but the step: encoder, decoder and reference agree on it bit for bit. Pure
// functions; a state belongs to one stream.

#include <optional>

#include "pinion/codec/frame_format.h"
#include "pinion/codec/index_chunks.h"

namespace pinion::codec {

inline constexpr int kStateFractionBits = 4;  // states count sixteenths of a step
inline constexpr int kStateOne = 1 << kStateFractionBits;
inline constexpr std::int64_t kMaxState = (1 << 30) - 1;
inline constexpr int kRatioBits = 16;  // fraction bits of the ratio of steps
inline constexpr std::uint64_t kMaxRatio = 1u << 24;
inline constexpr int kMaxMeanShift = 8;

// What the frame says besides the chunks.
struct FidelityParams {
  float step = 1;           // of the components, in units of the tensor's values
  int mean_shift = 0;       // the step of the means is step / 2^mean_shift
  std::uint32_t ratio = 0;  // inter frames: previous step / step, kRatioBits fraction bits
  std::uint8_t mean_coefficient = 0;
  IndexClass mean_class;
  ComponentParams components;

  std::size_t component_count() const { return components.scales.size(); }
};

struct FidelityBody {
  FidelityParams params;
  IndexChunks chunks;
};

// After a frame: what both sides know of the stream, and what the next frame predicts from.
struct StreamState {
  std::uint32_t checksum = 0;
  std::optional<BasisId> basis;
  std::size_t rows = 0;
  std::size_t channels = 0;
  int mean_shift = 0;
  std::vector<std::int32_t> means;       // [channels], in 1 / kStateOne of the mean step
  std::vector<std::int32_t> components;  // [components, rows], in 1 / kStateOne of the step
};

void write_fidelity_params(ByteWriter& out, const FidelityParams& params, bool inter);

// `max_components`: of the basis, or the channels where there is none.
Result<FidelityBody> parse_fidelity(const FrameHeader& header, ByteSpan body, std::size_t max_components);

// The prediction of component `k`'s row `row` (of the means: k = kMeans, row = channel) from `previous`,
// which may be null in key frames.
class Predictor {
 public:
  Predictor(const FidelityParams& params, const StreamState* previous);

  // [rows] of a component, in state units.
  void component(std::size_t k, std::span<std::int64_t> out) const;
  void means(std::span<std::int64_t> out) const;

 private:
  const FidelityParams& params_;
  const StreamState* previous_;
};

// Residuals to the next state. kBadFormat if a state leaves its range.
Result<void> advance(std::span<const std::int64_t> prediction, std::span<const std::int32_t> residuals,
                     BinOffsets offsets, std::span<std::int32_t> state);

}  // namespace pinion::codec
