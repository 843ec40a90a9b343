// Side information of planes ('s' first), unpacked with grey pictures where it parses, and access units of
// video
// ('v' first). Errors are fine; what must not happen is a fault, or a tensor that the receiver did not allow.

#include <cstdint>

#include "pinion/codec/planes/plane_side_info.h"
#include "pinion/codec/planes/tiles.h"
#include "pinion/codec/video/hevc_units.h"

namespace {

using pinion::ByteSpan;
using pinion::Result;
using pinion::Tensor;

namespace codec = pinion::codec;

constexpr codec::DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};
constexpr std::size_t kMaxSamples = 1 << 20;
constexpr codec::PictureKind kVideo{160, 144, codec::PictureFormat::kGrey};

Tensor unpack(const codec::RangeSideInfo& info) {
  const codec::RangePacking& packing = info.packing;
  const codec::PictureLayout layout =
      codec::range_layout(packing.grid, packing.tiles_per_side, packing.padding).value();
  if (layout.pictures_shape(info.ranges.size()).elements() > static_cast<std::int64_t>(kMaxSamples))
    return {};
  return codec::unpack_ranges(codec::grey_pictures(layout, info.ranges.size()), info.ranges, packing).value();
}

Tensor unpack(const codec::ComponentSideInfo& info) {
  const codec::PictureLayout layout = codec::component_layout(info.packing.grid, info.components).value();
  if (layout.pictures_shape(info.components).elements() > static_cast<std::int64_t>(kMaxSamples)) return {};
  std::vector<std::int32_t> offsets = info.offsets;
  offsets.resize(info.components);
  const Result<Tensor> tensor =
      codec::unpack_components(codec::grey_pictures(layout, info.components), {}, offsets, info.packing);
  return tensor.ok() ? *tensor : Tensor();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] == 's') {
    const auto parsed = codec::parse_side_info(bytes, kLimits);
    if (!parsed.ok()) return 0;
    const Tensor tensor = std::visit([](const auto& info) { return unpack(info); }, *parsed);
    if (tensor.defined()) PINION_ASSERT(tensor.bytes() <= kLimits.max_tensor_bytes);
  } else if (data[0] == 'v') {
    static_cast<void>(codec::inspect_access_unit(bytes, kVideo).ok());
  }
  return 0;
}
