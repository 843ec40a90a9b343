#include <algorithm>
#include <bit>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/lossless/frequency_coding.h"
#include "pinion/codec/lossless/lossless.h"
#include "pinion/codec/lossless/plane_classes.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kChunkElements = 1 << 16;
constexpr double kWorthCoding = 0.98;       // of the raw size; above, the plane stays raw
constexpr std::size_t kBytesPerLane = 256;  // of coded data, so that lane states stay below one percent

using PlaneBytes = std::vector<std::uint8_t>;

template <class Word>
void split(const std::byte* data, std::size_t count, bool rotated, std::vector<PlaneBytes>& planes) {
  for (std::size_t i = 0; i < count; ++i) {
    Word value;
    std::memcpy(&value, data + i * sizeof(Word), sizeof(Word));
    if (rotated) value = std::rotl(value, 1);
    for (std::size_t p = 0; p < sizeof(Word); ++p) {
      planes[p][i] = static_cast<std::uint8_t>(value >> (8 * (sizeof(Word) - 1 - p)));
    }
  }
}

std::vector<PlaneBytes> split_planes(const TensorView& tensor) {
  const auto count = static_cast<std::size_t>(tensor.elements());
  std::vector<PlaneBytes> planes(size_bytes(tensor.dtype), PlaneBytes(count));
  switch (size_bytes(tensor.dtype)) {
    case 1:
      split<std::uint8_t>(tensor.data, count, false, planes);
      break;
    case 2:
      split<std::uint16_t>(tensor.data, count, is_rotated(tensor.dtype), planes);
      break;
    default:
      split<std::uint32_t>(tensor.data, count, is_rotated(tensor.dtype), planes);
      break;
  }
  return planes;
}

struct CodedPlane {
  PlaneKind kind = PlaneKind::kRaw;
  PlaneClasses classes;
};

CodedPlane choose_coding(const PlaneBytes& bytes, std::size_t channels) {
  const bool constant =
      std::all_of(bytes.begin(), bytes.end(), [first = bytes.front()](auto byte) { return byte == first; });
  if (constant) return {PlaneKind::kConstant, {}};
  CodedPlane plane{PlaneKind::kCoded, choose_classes(bytes, channels)};
  if (plane.classes.coded_bits > kWorthCoding * 8 * static_cast<double>(bytes.size()))
    plane.kind = PlaneKind::kRaw;
  return plane;
}

void write_plane_header(ByteWriter& out, const CodedPlane& plane, const PlaneBytes& bytes) {
  out.write(static_cast<std::uint8_t>(plane.kind));
  if (plane.kind == PlaneKind::kConstant) out.write(bytes.front());
  if (plane.kind != PlaneKind::kCoded) return;
  const std::size_t classes = plane.classes.tables.size();
  out.write(static_cast<std::uint8_t>(classes));
  BitWriter bits;
  const int width = std::bit_width(static_cast<unsigned>(classes - 1));
  for (const std::uint8_t c : plane.classes.class_of_channel) bits.write(c, width);
  for (const Frequencies& table : plane.classes.tables) write_frequencies(bits, table);
  out.write_bytes(std::move(bits).finish());
}

// Appends all chunks of a plane to `out` and their sizes to `sizes`.
void encode_chunks(const CodedPlane& plane, const PlaneBytes& bytes, int lanes, std::size_t channels,
                   ByteWriter& out, std::vector<std::size_t>& sizes) {
  std::vector<EncodeTable> tables;
  for (const Frequencies& frequencies : plane.classes.tables) tables.emplace_back(frequencies);
  std::vector<const EncodeTable*> by_channel(channels, &tables.front());
  for (std::size_t c = 0; c < plane.classes.class_of_channel.size(); ++c) {
    by_channel[c] = &tables[plane.classes.class_of_channel[c]];
  }
  for (std::size_t begin = 0; begin < bytes.size(); begin += kChunkElements) {
    const std::size_t end = std::min(bytes.size(), begin + kChunkElements);
    ChunkEncoder chunk(lanes);
    std::size_t channel = end % channels;
    for (std::size_t i = end; i-- > begin;) {
      channel = channel == 0 ? channels - 1 : channel - 1;
      const int lane = static_cast<int>((i - begin) % static_cast<std::size_t>(lanes));
      chunk.put(lane, (*by_channel[channel])[bytes[i]]);
    }
    sizes.push_back(chunk.finish(out));
  }
}

int choose_lanes_log2(const std::vector<CodedPlane>& planes, std::int64_t elements) {
  const std::int64_t chunks = (elements - 1) / kChunkElements + 1;
  double most = 0;
  for (const CodedPlane& plane : planes) {
    if (plane.kind == PlaneKind::kCoded) most = std::max(most, plane.classes.coded_bits / 8);
  }
  const auto lanes = static_cast<unsigned>(most / static_cast<double>(chunks) / kBytesPerLane);
  return std::bit_width(std::clamp(lanes, 1u, unsigned{kMaxLanes})) - 1;
}

}  // namespace

Bytes encode_lossless(const TensorView& tensor) {
  if (tensor.elements() == 0) return {};
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape));
  const std::vector<PlaneBytes> bytes = split_planes(tensor);
  std::vector<CodedPlane> planes;
  for (const PlaneBytes& plane : bytes) planes.push_back(choose_coding(plane, channels));

  const int lanes_log2 = choose_lanes_log2(planes, tensor.elements());
  ByteWriter out;
  out.write(static_cast<std::uint8_t>(lanes_log2));
  write_varint(out, kChunkElements);
  ByteWriter data;
  std::vector<std::size_t> sizes;
  for (std::size_t p = 0; p < planes.size(); ++p) {
    write_plane_header(out, planes[p], bytes[p]);
    if (planes[p].kind == PlaneKind::kRaw) data.write_bytes(std::as_bytes(std::span(bytes[p])));
    if (planes[p].kind == PlaneKind::kCoded)
      encode_chunks(planes[p], bytes[p], 1 << lanes_log2, channels, data, sizes);
  }
  for (const std::size_t size : sizes) write_varint(out, size);
  out.write_bytes(data.view());
  return std::move(out).take();
}

}  // namespace pinion::codec
