#include "pinion/codec/indices/component_params.h"

#include <algorithm>
#include <limits>

namespace pinion::codec {
namespace {

constexpr int kRiceParameterBits = 3;

// Writes small numbers with the Rice parameter that suits them, in front.
void write_small(BitWriter& out, std::span<const std::uint32_t> values) {
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  int best = 0;
  for (int low_bits = 0; low_bits < 1 << kRiceParameterBits; ++low_bits) {
    std::uint64_t bits = 0;
    bool possible = true;
    for (const std::uint32_t value : values) {
      bits += (value >> low_bits) + 1 + static_cast<std::uint32_t>(low_bits);
      possible &= (value >> low_bits) <= kMaxRiceQuotient;
    }
    if (possible && bits < least) least = bits, best = low_bits;
  }
  out.write(static_cast<std::uint32_t>(best), kRiceParameterBits);
  for (const std::uint32_t value : values) out.write_rice(best, value);
}

}  // namespace

void write_differences(BitWriter& out, std::span<const std::uint8_t> values,
                       std::span<const std::uint8_t> base) {
  std::vector<std::uint32_t> differences;
  int neighbour = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int from = base.empty() ? neighbour : i < base.size() ? base[i] : 0;
    differences.push_back(zigzag(values[i] - from));
    neighbour = values[i];
  }
  write_small(out, differences);
}

Result<std::vector<std::uint8_t>> read_differences(BitReader& in, std::size_t count, int max_value,
                                                   std::span<const std::uint8_t> base) {
  const int low_bits = static_cast<int>(in.read(kRiceParameterBits));
  std::vector<std::uint8_t> values;
  int neighbour = 0;
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    const int from = base.empty() ? neighbour : i < base.size() ? base[i] : 0;
    neighbour = from + unzigzag(in.read_rice(low_bits));
    if (neighbour < 0 || neighbour > max_value) {
      return Error{Errc::kBadFormat, "a component has impossible parameters", ""};
    }
    values.push_back(static_cast<std::uint8_t>(neighbour));
  }
  if (in.failed()) return Error{Errc::kBadFormat, "the component parameters are cut short", ""};
  return values;
}

namespace {

constexpr int kShapeBits = 2;
constexpr int kBandScaleBits = 6;
constexpr int kPredictorBits = 4;
constexpr int kCoefficientBits = 8;
constexpr int kOffsetBits = 3;

// The scales that occur in any band and have offsets, ascending.
std::vector<std::size_t> offset_scales(const ComponentParams& params) {
  std::array<bool, kOffsetScales + 1> present{};
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      if (const auto scale = params.index_class(k, band).scale; scale <= kOffsetScales) present[scale] = true;
    }
  }
  std::vector<std::size_t> scales;
  for (std::size_t scale = 1; scale < present.size(); ++scale) {
    if (present[scale]) scales.push_back(scale);
  }
  return scales;
}

}  // namespace

void write_params(BitWriter& out, const ComponentParams& params, ParamsKind kind) {
  out.write(params.shapes.rare, kShapeBits);
  out.write(params.shapes.wide, kShapeBits);
  if (params.scales.empty()) return;
  if (kind.references > 0) {
    BitWriter from_left, from_last;
    write_differences(from_left, params.scales, {});
    write_differences(from_last, params.scales, kind.last_scales);
    if (kind.last_scales.empty() || from_left.bits() <= from_last.bits()) kind.last_scales = {};
    out.write(kind.last_scales.empty() ? 0 : 1, 1);
  }
  write_differences(out, params.scales, kind.last_scales);
  // The last band is the measure of the others.
  for (std::size_t band = 0; band + 1 < kind.bands; ++band) {
    out.write(static_cast<std::uint32_t>(params.band_scales[band] + kMaxBandScale), kBandScaleBits);
  }
  if (kind.references > 0) {
    out.write(static_cast<std::uint32_t>(params.predictors.size() - 1), kPredictorBits);
    for (const PredictorSet& set : params.predictors) {
      for (std::size_t i = 0; i < kind.references; ++i) out.write(set.written[i], kCoefficientBits);
    }
    write_small(out, std::vector<std::uint32_t>(params.predictor_of.begin(), params.predictor_of.end()));
  }
  if (!kind.offsets) return;
  for (const std::size_t scale : offset_scales(params)) {
    out.write(params.offsets[scale].one, kOffsetBits);
    out.write(params.offsets[scale].more, kOffsetBits);
  }
}

Result<ComponentParams> read_params(BitReader& in, std::size_t components, ParamsKind kind) {
  const Error cut{Errc::kBadFormat, "the component parameters are cut short or impossible", ""};
  ComponentParams params;
  params.band_scales.assign(kind.bands, 0);
  params.shapes.rare = static_cast<std::uint8_t>(in.read(kShapeBits));
  params.shapes.wide = static_cast<std::uint8_t>(in.read(kShapeBits));
  if (components == 0) return params;
  const bool from_last = kind.references > 0 && in.read(1) == 1;
  if (from_last && kind.last_scales.empty()) return cut;
  if (!from_last) kind.last_scales = {};
  PINION_TRY(params.scales,
             read_differences(in, components, max_scale(params.shapes.wide), kind.last_scales));
  for (std::size_t band = 0; band + 1 < kind.bands; ++band) {
    const int value = static_cast<int>(in.read(kBandScaleBits)) - kMaxBandScale;
    if (value > kMaxBandScale) return cut;
    params.band_scales[band] = static_cast<std::int8_t>(value);
  }
  if (kind.references > 0) {
    params.predictors.resize(in.read(kPredictorBits) + 1);
    for (PredictorSet& set : params.predictors) {
      for (std::size_t i = 0; i < kind.references; ++i) {
        set.written[i] = static_cast<std::uint8_t>(in.read(kCoefficientBits));
      }
    }
    const int low_bits = static_cast<int>(in.read(kRiceParameterBits));
    for (std::size_t k = 0; k < components && !in.failed(); ++k) {
      const std::uint32_t index = in.read_rice(low_bits);
      if (index >= params.predictors.size()) return cut;
      params.predictor_of.push_back(static_cast<std::uint8_t>(index));
    }
  }
  if (kind.offsets) {
    for (const std::size_t scale : offset_scales(params)) {
      params.offsets[scale].one = static_cast<std::uint8_t>(in.read(kOffsetBits));
      params.offsets[scale].more = static_cast<std::uint8_t>(in.read(kOffsetBits));
    }
  }
  if (in.failed()) return cut;
  return params;
}

}  // namespace pinion::codec
