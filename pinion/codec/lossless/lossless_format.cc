#include <bit>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/lossless/frequency_coding.h"
#include "pinion/codec/lossless/lossless.h"

namespace pinion::codec {
namespace {

Error broken(std::string_view what) {
  return Error{Errc::kBadFormat, "lossless frame: " + std::string(what), ""};
}

Result<void> read_coded_header(ByteReader& in, std::int64_t channels, Plane& plane) {
  const auto classes = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("lossless frame"));
  if (classes == 0 || classes > kMaxPlaneClasses) return broken("impossible number of table classes");
  ByteReader ahead = in;
  BitReader bits(ahead.take(ahead.remaining()));
  if (classes > 1) {
    const int width = std::bit_width(static_cast<unsigned>(classes - 1));
    if (static_cast<std::uint64_t>(channels) > in.remaining() * 8)
      return broken("the channel map is cut short");
    plane.class_of_channel.reserve(static_cast<std::size_t>(channels));
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::uint32_t index = bits.read(width);
      if (index >= classes) return broken("a channel has a class that is not there");
      plane.class_of_channel.push_back(static_cast<std::uint8_t>(index));
    }
  }
  for (int i = 0; i < classes; ++i) {
    PINION_TRY(Frequencies table, read_frequencies(bits));
    plane.tables.push_back(std::move(table));
  }
  if (!bits.ends_cleanly()) return broken("the tables do not end cleanly");
  in.take(bits.bytes_read());
  return {};
}

Result<void> read_plane_header(ByteReader& in, std::int64_t channels, Plane& plane) {
  const auto kind = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("lossless frame"));
  switch (kind) {
    case static_cast<std::uint8_t>(PlaneKind::kRaw):
      plane.kind = PlaneKind::kRaw;
      return {};
    case static_cast<std::uint8_t>(PlaneKind::kConstant):
      plane.kind = PlaneKind::kConstant;
      plane.constant = in.read<std::uint8_t>();
      return in.check("lossless frame");
    case static_cast<std::uint8_t>(PlaneKind::kCoded):
      plane.kind = PlaneKind::kCoded;
      return read_coded_header(in, channels, plane);
    default:
      return broken("unknown kind of plane");
  }
}

}  // namespace

Result<LosslessBody> parse_lossless(const FrameHeader& header, ByteSpan bytes) {
  const auto elements = static_cast<std::uint64_t>(header.shape.elements());
  ByteReader in(bytes);
  LosslessBody body;
  const auto lanes_log2 = in.read<std::uint8_t>();
  PINION_TRY(const std::uint64_t chunk_elements, read_varint(in, "lossless frame"));
  if (lanes_log2 > std::bit_width(unsigned{kMaxLanes}) - 1) return broken("too many lanes");
  if (chunk_elements == 0 || chunk_elements > kMaxElements) return broken("impossible chunk size");
  body.lanes = 1 << lanes_log2;
  body.chunk_elements = static_cast<std::int64_t>(chunk_elements);
  body.planes.resize(size_bytes(header.dtype));
  for (Plane& plane : body.planes) PINION_TRY_VOID(read_plane_header(in, channels_of(header.shape), plane));

  const std::uint64_t chunks = (elements - 1) / chunk_elements + 1;
  std::vector<std::uint64_t> sizes;
  for (const Plane& plane : body.planes) {
    if (plane.kind != PlaneKind::kCoded) continue;
    if (chunks > in.remaining()) return broken("the chunk sizes are cut short");
    for (std::uint64_t i = 0; i < chunks; ++i) {
      PINION_TRY(const std::uint64_t size, read_varint(in, "lossless frame"));
      if (size > kMaxExtent) return broken("impossible size of a chunk");
      sizes.push_back(size);
    }
  }
  auto next_size = sizes.begin();
  for (Plane& plane : body.planes) {
    if (plane.kind == PlaneKind::kRaw) plane.raw = in.take(elements);
    if (plane.kind != PlaneKind::kCoded) continue;
    for (std::uint64_t i = 0; i < chunks; ++i) plane.chunks.push_back(in.take(*next_size++));
  }
  PINION_TRY_VOID(in.check("lossless frame"));
  if (in.remaining() != 0) return broken("stray bytes after the last chunk");
  return body;
}

}  // namespace pinion::codec
