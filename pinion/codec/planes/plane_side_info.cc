#include "pinion/codec/planes/plane_side_info.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/base/checked.h"
#include "pinion/base/float_formats.h"

namespace pinion::codec {
namespace {

constexpr std::uint8_t kRanges = 1;
constexpr std::uint8_t kComponents = 2;

struct Header {
  std::uint8_t packing, tiles_per_side, padding, variant;
  TokenGrid grid;
  std::size_t components;
};

void write_header(ByteWriter& out, const Header& header) {
  out.write(header.packing);
  out.write(header.tiles_per_side);
  out.write(header.padding);
  out.write(header.variant);
  out.write(static_cast<std::uint32_t>(header.grid.lines));
  out.write(static_cast<std::uint32_t>(header.grid.columns));
  out.write(static_cast<std::uint32_t>(header.components));
}

bool is_f16(float value) { return f16_to_float(float_to_f16(value)) == value; }

Error bad(const std::string& what) { return {Errc::kBadFormat, "side information of planes: " + what, ""}; }

Result<Header> read_header(ByteReader& in, const DecodeLimits& limits) {
  Header header{};
  header.packing = in.read<std::uint8_t>();
  header.tiles_per_side = in.read<std::uint8_t>();
  header.padding = in.read<std::uint8_t>();
  header.variant = in.read<std::uint8_t>();
  header.grid.lines = in.read<std::uint32_t>();
  header.grid.columns = in.read<std::uint32_t>();
  header.components = in.read<std::uint32_t>();
  PINION_TRY_VOID(in.check("side information of planes"));
  if (header.packing != kRanges && header.packing != kComponents) return bad("there is no such packing");
  if (header.padding > 1 || header.variant > 1) return bad("a field is out of range");
  const bool components = header.packing == kComponents;
  if (components && (header.tiles_per_side != 0 || header.padding != 1))
    return bad("a field is out of range");
  if (header.components == 0) return bad("no components");
  const Result<PictureLayout> layout = components ? component_layout(header.grid, header.components)
                                                  : range_layout(header.grid, header.tiles_per_side,
                                                                 static_cast<PlanePadding>(header.padding));
  if (!layout.ok()) return bad(layout.error().text);
  // No overflow: the layout has bounded both sides of the grid, and the components are 32 bits.
  const std::size_t tensor_bytes = header.grid.tokens() * header.components;
  if (header.components > limits.max_channels || tensor_bytes > limits.max_tensor_bytes / sizeof(float)) {
    return Error{Errc::kTooLarge,
                 "planes of " + std::to_string(header.components) + " components of " +
                     std::to_string(header.grid.tokens()) + " tokens are over the limit",
                 ""};
  }
  return header;
}

Result<PlaneSideInfo> read_ranges(ByteReader& in, const Header& header) {
  const bool wide = header.variant == 1;
  if (in.remaining() < header.components * (wide ? 8 : 4))
    return Error{Errc::kNeedMoreBytes, "side information of planes ends within its ranges", ""};
  RangeSideInfo info{{header.grid, header.tiles_per_side, static_cast<PlanePadding>(header.padding)}, {}};
  info.ranges.resize(header.components);
  const auto next = [&] { return wide ? in.read<float>() : f16_to_float(in.read<std::uint16_t>()); };
  for (ChannelRange& range : info.ranges) {
    range.low = next();
    range.high = next();
    if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high)
      return bad("a range is none");
  }
  return PlaneSideInfo(std::move(info));
}

Result<PlaneSideInfo> read_components(ByteReader& in, const Header& header) {
  ComponentSideInfo info{{header.grid, in.read<float>()}, header.components, {}};
  PINION_TRY_VOID(in.check("side information of planes"));
  if (!is_step(info.packing.step)) return bad("a step is none");
  if (header.variant == 0) return PlaneSideInfo(std::move(info));
  if (in.remaining() < header.components * sizeof(std::int32_t))
    return Error{Errc::kNeedMoreBytes, "side information of planes ends within its offsets", ""};
  info.offsets.resize(header.components);
  for (std::int32_t& offset : info.offsets) {
    offset = in.read<std::int32_t>();
    if (!is_offset(offset, info.packing.step)) return bad("an offset leads out of float32");
  }
  return PlaneSideInfo(std::move(info));
}

}  // namespace

Bytes write_side_info(const RangeSideInfo& info) {
  const bool wide = !std::all_of(info.ranges.begin(), info.ranges.end(), [](const ChannelRange& range) {
    return is_f16(range.low) && is_f16(range.high);
  });
  ByteWriter out;
  write_header(
      out, {kRanges, static_cast<std::uint8_t>(info.packing.tiles_per_side),
            static_cast<std::uint8_t>(info.packing.padding), wide, info.packing.grid, info.ranges.size()});
  for (const ChannelRange& range : info.ranges) {
    for (const float end : {range.low, range.high}) wide ? out.write(end) : out.write(float_to_f16(end));
  }
  return std::move(out).take();
}

Bytes write_side_info(const ComponentSideInfo& info) {
  PINION_ASSERT(info.offsets.empty() || info.offsets.size() == info.components);
  ByteWriter out;
  write_header(out, {kComponents, 0, static_cast<std::uint8_t>(PlanePadding::kHardware),
                     !info.offsets.empty(), info.packing.grid, info.components});
  out.write(info.packing.step);
  for (const std::int32_t offset : info.offsets) out.write(offset);
  return std::move(out).take();
}

Result<PlaneSideInfo> parse_side_info(ByteSpan bytes, const DecodeLimits& limits) {
  ByteReader in(bytes);
  PINION_TRY(const Header header, read_header(in, limits));
  PINION_TRY(PlaneSideInfo info,
             header.packing == kRanges ? read_ranges(in, header) : read_components(in, header));
  if (in.remaining() != 0) return bad(std::to_string(in.remaining()) + " bytes too many");
  return info;
}

}  // namespace pinion::codec
