#pragma once
// Per component: the table class of its indices, its predictor, and where in a bin values are rebuilt
// (docs/format.md §6.1). Shared by fidelity frames and basis assets. Pure functions.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "pinion/codec/bit_stream.h"
#include "pinion/codec/index_tables.h"

namespace pinion::codec {

inline constexpr int kCoefficientBits = 7;
inline constexpr int kCoefficientOne = 64;  // predictor coefficients are multiples of 1/64
inline constexpr int kOffsetScales = 24;    // classes of scale 1 .. 24 have offsets
inline constexpr int kMaxOffset = 7;        // sixteenths of a step

// How far toward the prediction values are rebuilt, in sixteenths of a step.
struct BinOffsets {
  std::uint8_t one = 0;   // residuals of ±1
  std::uint8_t more = 0;  // all larger ones
};

struct ComponentParams {
  std::uint8_t shape = 3;                               // of all components
  std::vector<std::uint8_t> scales;                     // of each component, 0: no residual
  std::vector<std::uint8_t> coefficients;               // of each component; empty in key frames and bases
  std::array<BinOffsets, kOffsetScales + 1> offsets{};  // by scale; all zero in bases

  IndexClass index_class(std::size_t component) const { return {shape, scales[component]}; }
};

// Small numbers as Rice-coded differences: the parameter, the first number, the rest.
void write_differences(BitWriter& out, std::span<const std::uint8_t> values);
Result<std::vector<std::uint8_t>> read_differences(BitReader& in, std::size_t count, int max_value);

// Which of the optional parts are there.
struct ParamsKind {
  bool coefficients = false;
  bool offsets = false;
};

void write_params(BitWriter& out, const ComponentParams& params, ParamsKind kind);
Result<ComponentParams> read_params(BitReader& in, std::size_t components, ParamsKind kind);

}  // namespace pinion::codec
