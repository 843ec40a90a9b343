#pragma once
// Per component: the table class of its indices, its predictor, and where in a
// bin values are rebuilt (docs/format.md §6.2). Shared by fidelity frames and
// basis assets. Pure functions.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/indices/index_tables.h"

namespace pinion::codec {

inline constexpr int kCoefficientOne = 64;         // predictor coefficients are multiples of 1/64:
inline constexpr int kMaxCoefficient = 255;        // of the last frame 0 to 255,
inline constexpr int kOlderCoefficientZero = 128;  // of the one before -128 to 127, written with this added
inline constexpr std::size_t kMaxPredictors = 16;
inline constexpr int kOffsetScales = 16;  // classes of scale 1 .. 16 have offsets
inline constexpr int kMaxOffset = 7;      // sixteenths of a step
inline constexpr int kMaxBandScale = 31;  // either way
inline constexpr std::size_t kMaxReferences = 2;

// How far toward the prediction values are rebuilt, in sixteenths of a step.
struct BinOffsets {
  std::uint8_t one = 0;   // residuals of ±1
  std::uint8_t more = 0;  // all larger ones
};

// Coefficients of the references, as written.
struct PredictorSet {
  std::array<std::uint8_t, kMaxReferences> written = {0, kOlderCoefficientZero};
  bool operator==(const PredictorSet&) const = default;

  int coefficient(std::size_t reference) const {
    return written[reference] - (reference == 0 ? 0 : kOlderCoefficientZero);
  }
};

struct ComponentParams {
  Shapes shapes;                               // of all components
  std::vector<std::uint8_t> scales;            // of each component, 0: no residual
  std::vector<std::int8_t> band_scales = {0};  // of each band, added to a component's scale
  std::vector<PredictorSet> predictors;        // that components choose from; empty in key frames and bases
  std::vector<std::uint8_t> predictor_of;      // of each component, if there are any
  std::array<BinOffsets, kOffsetScales + 1> offsets{};  // by scale of the class; all zero in bases

  // The class of a component's indices in a band: scale 0 if it has none there.
  IndexClass index_class(std::size_t component, std::size_t band) const {
    return class_at(scales[component], band);
  }
  // That of a component of this scale.
  IndexClass class_at(int scale, std::size_t band) const {
    return scale == 0 ? IndexClass{} : shapes.at(scale + band_scales[band]);
  }

  BinOffsets offsets_of(IndexClass index_class) const {
    return index_class.scale <= kOffsetScales ? offsets[index_class.scale] : BinOffsets{};
  }
};

// Small numbers as Rice-coded differences: from their left neighbour, or from
// `base` where that is not empty (0 past its end). The parameter, then the
// numbers.
void write_differences(BitWriter& out, std::span<const std::uint8_t> values,
                       std::span<const std::uint8_t> base);
Result<std::vector<std::uint8_t>> read_differences(BitReader& in, std::size_t count, int max_value,
                                                   std::span<const std::uint8_t> base);

// Which of the optional parts are there.
struct ParamsKind {
  std::size_t references = 0;
  std::size_t bands = 1;
  bool offsets = false;
  std::span<const std::uint8_t> last_scales{};  // of the frame before, to write scales as differences from
};

void write_params(BitWriter& out, const ComponentParams& params, ParamsKind kind);
Result<ComponentParams> read_params(BitReader& in, std::size_t components, ParamsKind kind);

}  // namespace pinion::codec
