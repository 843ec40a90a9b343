#include "pinion/codec/planes/range_packing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/planes/tiles.h"

namespace pinion::codec {
namespace {

constexpr float kGreatestF16 = 65504;

// The nearest float16 in the direction of `toward` that is not on the other side of `value`.
float f16_outwards(float value, float toward) {
  const std::uint16_t nearest = float_to_f16(value);
  const float rounded = f16_to_float(nearest);
  const bool outside = toward < 0 ? rounded <= value : rounded >= value;
  if (outside) return rounded;
  if (rounded == 0) return std::copysign(f16_to_float(1), toward);
  // One step of the bits is one step of the magnitude.
  const bool grows = (rounded > 0) == (toward > 0);
  return f16_to_float(static_cast<std::uint16_t>(grows ? nearest + 1 : nearest - 1));
}

std::vector<ChannelRange> ranges_of(const Matrix& channels) {
  std::vector<ChannelRange> ranges(channels.rows);
  bool fit = true;
  for (std::size_t c = 0; c < channels.rows; ++c) {
    const auto [low, high] = std::minmax_element(channels.row(c).begin(), channels.row(c).end());
    ranges[c] = {*low, *high};
    fit = fit && *low >= -kGreatestF16 && *high <= kGreatestF16;
  }
  if (fit) {
    for (ChannelRange& range : ranges) range = {f16_outwards(range.low, -1), f16_outwards(range.high, 1)};
  }
  return ranges;
}

void quantise(std::span<const float> values, const ChannelRange& range, std::span<std::uint8_t> levels) {
  const double step = range.step();
  if (!(step > 0)) {
    std::fill(levels.begin(), levels.end(), kGreyLevel);
    return;
  }
  const double scale = 1 / step;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double level = (static_cast<double>(values[i]) - range.low) * scale + 0.5;
    levels[i] = static_cast<std::uint8_t>(std::min(static_cast<int>(level), 255));
  }
}

Result<void> check_ranges(std::span<const ChannelRange> ranges) {
  for (std::size_t c = 0; c < ranges.size(); ++c) {
    const ChannelRange& range = ranges[c];
    if (!std::isfinite(range.low) || !std::isfinite(range.high) || range.low > range.high) {
      return Error{Errc::kBadFormat, "the range of channel " + std::to_string(c) + " is none", ""};
    }
  }
  return {};
}

}  // namespace

Result<RangePictures> pack_ranges(const TensorView& tensor, const RangePacking& packing) {
  PINION_TRY(const PictureLayout layout, range_layout(packing.grid, packing.tiles_per_side, packing.padding));
  PINION_TRY(const Matrix channels, channels_of(tensor, packing.grid));
  RangePictures packed{grey_pictures(layout, channels.rows), ranges_of(channels)};
  auto* const samples = reinterpret_cast<std::uint8_t*>(packed.pictures.mutable_data());
  std::vector<std::uint8_t> levels(channels.columns);
  for (std::size_t c = 0; c < channels.rows; ++c) {
    quantise(channels.row(c), packed.ranges[c], levels);
    write_tile(samples, layout, c, levels);
  }
  if (packing.padding == PlanePadding::kHardware) {
    const std::size_t slots = layout.pictures(channels.rows) * layout.slots_per_picture();
    for (std::size_t slot = channels.rows; slot < slots; ++slot) write_tile(samples, layout, slot, levels);
  }
  extend_edges(samples, layout, channels.rows);
  return packed;
}

Result<Tensor> unpack_ranges(const TensorView& pictures, std::span<const ChannelRange> ranges,
                             const RangePacking& packing) {
  PINION_TRY(const PictureLayout layout, range_layout(packing.grid, packing.tiles_per_side, packing.padding));
  PINION_TRY_VOID(check_ranges(ranges));
  PINION_TRY_VOID(check_pictures(pictures, layout, ranges.size()));
  Matrix channels(ranges.size(), packing.grid.tokens());
  std::vector<std::uint8_t> levels(channels.columns);
  for (std::size_t c = 0; c < ranges.size(); ++c) {
    read_tile(reinterpret_cast<const std::uint8_t*>(pictures.data), layout, c, levels);
    const double low = ranges[c].low, step = ranges[c].step();
    const std::span<float> values = channels.row(c);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(std::min<double>(low + levels[i] * step, ranges[c].high));
  }
  return Tensor::from_floats(transpose(channels).values, {static_cast<std::int64_t>(channels.columns),
                                                          static_cast<std::int64_t>(channels.rows)});
}

}  // namespace pinion::codec
