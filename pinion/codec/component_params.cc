#include "pinion/codec/component_params.h"

#include <algorithm>
#include <limits>

namespace pinion::codec {
namespace {

constexpr int kRiceParameterBits = 3;

}  // namespace

void write_differences(BitWriter& out, std::span<const std::uint8_t> values) {
  std::vector<std::uint32_t> differences;
  for (std::size_t i = 1; i < values.size(); ++i) differences.push_back(zigzag(values[i] - values[i - 1]));
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  int best = 0;
  for (int low_bits = 0; low_bits < 1 << kRiceParameterBits; ++low_bits) {
    std::uint64_t bits = 0;
    bool possible = true;
    for (const std::uint32_t difference : differences) {
      bits += (difference >> low_bits) + 1 + static_cast<std::uint32_t>(low_bits);
      possible &= (difference >> low_bits) <= kMaxRiceQuotient;
    }
    if (possible && bits < least) least = bits, best = low_bits;
  }
  out.write(static_cast<std::uint32_t>(best), kRiceParameterBits);
  out.write(values.front(), 8);
  for (const std::uint32_t difference : differences) out.write_rice(best, difference);
}

Result<std::vector<std::uint8_t>> read_differences(BitReader& in, std::size_t count, int max_value) {
  const int low_bits = static_cast<int>(in.read(kRiceParameterBits));
  std::vector<std::uint8_t> values;
  int value = static_cast<int>(in.read(8));
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    if (i > 0) value += unzigzag(in.read_rice(low_bits));
    if (value < 0 || value > max_value)
      return Error{Errc::kBadFormat, "a component has impossible parameters", ""};
    values.push_back(static_cast<std::uint8_t>(value));
  }
  if (in.failed()) return Error{Errc::kBadFormat, "the component parameters are cut short", ""};
  return values;
}

namespace {

// The scales that occur and have offsets, ascending.
std::vector<std::size_t> offset_scales(const ComponentParams& params) {
  std::array<bool, kOffsetScales + 1> present{};
  for (const std::uint8_t scale : params.scales) {
    if (scale <= kOffsetScales) present[scale] = true;
  }
  std::vector<std::size_t> scales;
  for (std::size_t scale = 1; scale < present.size(); ++scale) {
    if (present[scale]) scales.push_back(scale);
  }
  return scales;
}

}  // namespace

void write_params(BitWriter& out, const ComponentParams& params, ParamsKind kind) {
  out.write(params.shape, 2);
  if (params.scales.empty()) return;
  write_differences(out, params.scales);
  if (kind.coefficients) write_differences(out, params.coefficients);
  if (!kind.offsets) return;
  for (const std::size_t scale : offset_scales(params)) {
    out.write(params.offsets[scale].one, 3);
    out.write(params.offsets[scale].more, 3);
  }
}

Result<ComponentParams> read_params(BitReader& in, std::size_t components, ParamsKind kind) {
  ComponentParams params;
  params.shape = static_cast<std::uint8_t>(in.read(2));
  if (components == 0) return params;
  PINION_TRY(params.scales, read_differences(in, components, max_scale(params.shape)));
  if (kind.coefficients) {
    PINION_TRY(params.coefficients, read_differences(in, components, (1 << kCoefficientBits) - 1));
  }
  if (!kind.offsets) return params;
  for (const std::size_t scale : offset_scales(params)) {
    params.offsets[scale].one = static_cast<std::uint8_t>(in.read(3));
    params.offsets[scale].more = static_cast<std::uint8_t>(in.read(3));
  }
  if (in.failed()) return Error{Errc::kBadFormat, "the component parameters are cut short", ""};
  return params;
}

}  // namespace pinion::codec
