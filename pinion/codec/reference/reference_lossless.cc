// docs/format.md §5 (mode 1) and §4.3 (tables in a frame).

#include <bit>

#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

struct Plane {
  std::uint64_t kind = 0;
  std::uint8_t constant = 0;
  std::vector<std::size_t> class_of_channel;
  std::vector<ReferenceTable> tables;  // of the classes
  std::vector<std::uint64_t> chunk_sizes;
  std::vector<std::uint8_t> bytes;  // what it holds, one for each element
};

// §4.3.
Result<ReferenceTable> read_table(ReferenceReader& in) {
  ReferenceTable table;
  std::uint64_t sum = 0;
  const auto add = [&](std::uint64_t f) -> Result<void> {
    sum += f;
    if (sum > 4096 || table.size() >= 256) return refused("a table has too many symbols or a sum over 4096");
    table.push_back(static_cast<std::uint32_t>(f));
    return {};
  };
  while (sum < 4096) {
    PINION_TRY(const std::uint64_t first, in.gamma("f + 1"));
    std::uint64_t f = first - 1;
    if (f == 0) {
      PINION_TRY(const std::uint64_t zeros, in.gamma("zeros"));
      if (zeros > 256) return refused("a table has too many symbols");
      for (std::uint64_t i = 0; i < zeros; ++i) PINION_TRY_VOID(add(0));
      PINION_TRY(f, in.gamma("f"));
    }
    PINION_TRY_VOID(add(f));
  }
  return table;
}

Result<Plane> read_plane_header(ReferenceReader& in, std::size_t channels) {
  Plane plane;
  PINION_TRY(plane.kind, in.number("plane kind", 1, {0, 2}));
  if (plane.kind == 1) {
    PINION_TRY(const std::uint64_t constant, in.number("value", 1));
    plane.constant = static_cast<std::uint8_t>(constant);
  }
  if (plane.kind != 2) return plane;
  PINION_TRY(const std::uint64_t classes, in.number("classes", 1, {1, 16}));
  if (classes > 1) {
    const int width = std::bit_width(classes - 1);
    for (std::size_t c = 0; c < channels; ++c) {
      PINION_TRY(const std::uint64_t class_index,
                 in.bits("class of channel " + std::to_string(c), width, {0, classes - 1}));
      plane.class_of_channel.push_back(class_index);
    }
  } else {
    plane.class_of_channel.assign(channels, 0);
  }
  for (std::uint64_t i = 0; i < classes; ++i) {
    PINION_TRY(ReferenceTable table, read_table(in));
    plane.tables.push_back(std::move(table));
  }
  PINION_TRY_VOID(in.end_of_bits());
  return plane;
}

Result<void> read_plane_data(ReferenceReader& in, std::size_t elements, std::uint64_t chunk_elements,
                             std::size_t lanes, Plane& plane) {
  if (plane.kind == 0) {
    PINION_TRY(const ByteSpan raw, in.bytes("plane", elements));
    for (const std::byte byte : raw) plane.bytes.push_back(std::to_integer<std::uint8_t>(byte));
  } else if (plane.kind == 1) {
    plane.bytes.assign(elements, plane.constant);
  }
  const std::size_t channels = plane.class_of_channel.size();
  for (const std::uint64_t size : plane.chunk_sizes) {
    PINION_TRY(const ReferenceReader part, in.part(size));
    PINION_TRY(ReferenceChunk chunk, ReferenceChunk::open(part, lanes));
    for (std::uint64_t n = 0; n < chunk_elements && plane.bytes.size() < elements; ++n) {
      const std::size_t channel = plane.bytes.size() % channels;
      PINION_TRY(const std::uint32_t byte,
                 chunk.symbol(n % lanes, plane.tables[plane.class_of_channel[channel]]));
      plane.bytes.push_back(static_cast<std::uint8_t>(byte));
    }
    PINION_TRY_VOID(chunk.end());
  }
  return {};
}

}  // namespace

Result<Tensor> decode_reference_lossless(const ReferenceHeader& header, ReferenceReader body) {
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (elements == 0) return tensor;
  PINION_TRY(const std::uint64_t lanes_log2, body.number("lanes_log2", 1, {0, 5}));
  PINION_TRY(const std::uint64_t chunk_elements,
             body.varint("chunk_elements", {1, (std::uint64_t{1} << 48) - 1}));
  const std::size_t width = size_bytes(header.dtype);
  std::vector<Plane> planes;
  for (std::size_t p = 0; p < width; ++p) {
    PINION_TRY(Plane plane, read_plane_header(body, header.channels));
    planes.push_back(std::move(plane));
  }
  const std::uint64_t chunks = (elements - 1) / chunk_elements + 1;
  for (Plane& plane : planes) {
    for (std::uint64_t i = 0; i < chunks && plane.kind == 2; ++i) {
      PINION_TRY(const std::uint64_t size, body.varint("chunk size", {0, (std::uint64_t{1} << 31) - 1}));
      plane.chunk_sizes.push_back(size);
    }
  }
  for (Plane& plane : planes) {
    PINION_TRY_VOID(read_plane_data(body, elements, chunk_elements, std::size_t{1} << lanes_log2, plane));
  }
  PINION_TRY_VOID(body.end("the last plane"));

  // Plane 0 holds the highest bytes. The bits of bf16 and f32 were rotated left by one.
  const bool rotated = header.dtype == DType::kBF16 || header.dtype == DType::kF32;
  for (std::size_t i = 0; i < elements; ++i) {
    std::uint64_t number = 0;
    for (const Plane& plane : planes) number = number * 256 + plane.bytes[i];
    if (rotated) number = (number >> 1) | ((number & 1) << (8 * width - 1));
    for (std::size_t b = 0; b < width; ++b) {
      tensor.mutable_data()[i * width + b] = static_cast<std::byte>(number >> (8 * b));
    }
  }
  return tensor;
}

}  // namespace pinion::codec
