// docs/format.md §5 (mode 1, planes of bytes) and §4.3 (tables in a frame).

#include <bit>

#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

struct Plane {
  std::uint64_t kind = 0;
  std::uint8_t constant = 0;
  std::vector<std::size_t> class_of;   // of each channel (kind 2) or context (kind 3)
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

Result<Plane> read_plane_header(ReferenceReader& in, const ReferencePlanesForm& form) {
  Plane plane;
  PINION_TRY(plane.kind, in.number("plane kind", 1, {0, form.contexts.empty() ? 2u : 3u}));
  if (plane.kind == 1) {
    PINION_TRY(const std::uint64_t constant, in.number("value", 1));
    plane.constant = static_cast<std::uint8_t>(constant);
  }
  if (plane.kind < 2) return plane;
  PINION_TRY(const std::uint64_t classes, in.number("classes", 1, {1, 16}));
  const int width = std::bit_width(classes - 1);
  if (plane.kind == 3) {
    while (plane.class_of.size() < 256) {
      PINION_TRY(const std::uint64_t class_index, in.bits("class", width, {0, classes - 1}));
      PINION_TRY(const std::uint64_t run, in.gamma("contexts"));
      if (run > 256 - plane.class_of.size()) return refused("more than 256 contexts");
      plane.class_of.insert(plane.class_of.end(), run, class_index);
    }
  } else if (classes > 1) {
    for (std::size_t c = 0; c < form.channels; ++c) {
      PINION_TRY(const std::uint64_t class_index,
                 in.bits("class of channel " + std::to_string(c), width, {0, classes - 1}));
      plane.class_of.push_back(class_index);
    }
  } else {
    plane.class_of.assign(form.channels, 0);
  }
  for (std::uint64_t i = 0; i < classes; ++i) {
    PINION_TRY(ReferenceTable table, read_table(in));
    plane.tables.push_back(std::move(table));
  }
  PINION_TRY_VOID(in.end_of_bits());
  return plane;
}

Result<void> read_plane_data(ReferenceReader& in, const ReferencePlanesForm& form,
                             std::uint64_t chunk_elements, std::size_t lanes, Plane& plane) {
  if (plane.kind == 0) {
    PINION_TRY(const ByteSpan raw, in.bytes("plane", form.elements));
    for (const std::byte byte : raw) plane.bytes.push_back(std::to_integer<std::uint8_t>(byte));
  } else if (plane.kind == 1) {
    plane.bytes.assign(form.elements, plane.constant);
  }
  for (const std::uint64_t size : plane.chunk_sizes) {
    PINION_TRY(const ReferenceReader part, in.part(size));
    PINION_TRY(ReferenceChunk chunk, ReferenceChunk::open(part, lanes));
    for (std::uint64_t n = 0; n < chunk_elements && plane.bytes.size() < form.elements; ++n) {
      const std::size_t element = plane.bytes.size();
      const std::size_t class_index =
          plane.class_of[plane.kind == 3 ? form.contexts[element] : element % form.channels];
      PINION_TRY(const std::uint32_t byte, chunk.symbol(n % lanes, plane.tables[class_index]));
      plane.bytes.push_back(static_cast<std::uint8_t>(byte));
    }
    PINION_TRY_VOID(chunk.end());
  }
  return {};
}

// §5.1. Elements as numbers of `width` bytes.
std::uint64_t element_at(const std::byte* bytes, std::size_t width, std::size_t i) {
  std::uint64_t number = 0;
  for (std::size_t b = width; b-- > 0;)
    number = number * 256 + std::to_integer<std::uint64_t>(bytes[i * width + b]);
  return number;
}

std::uint64_t rotated_left(std::uint64_t v, int bits) {
  return (v << 1 | v >> (bits - 1)) & ((std::uint64_t{1} << bits) - 1);
}

// o(v) and its inverse.
std::uint64_t ordered(std::uint64_t v, int bits) {
  const std::uint64_t sign = std::uint64_t{1} << (bits - 1);
  return (v & sign) != 0 ? v ^ (sign - 1) : v;
}

}  // namespace

Result<std::vector<std::vector<std::uint8_t>>> read_reference_planes(ReferenceReader& in,
                                                                     const ReferencePlanesForm& form) {
  PINION_TRY(const std::uint64_t lanes_log2, in.number("lanes_log2", 1, {0, 5}));
  PINION_TRY(const std::uint64_t chunk_elements,
             in.varint("chunk_elements", {1, (std::uint64_t{1} << 48) - 1}));
  std::vector<Plane> planes;
  for (std::size_t p = 0; p < form.planes; ++p) {
    PINION_TRY(Plane plane, read_plane_header(in, form));
    planes.push_back(std::move(plane));
  }
  const std::uint64_t chunks = (form.elements - 1) / chunk_elements + 1;
  for (Plane& plane : planes) {
    for (std::uint64_t i = 0; i < chunks && plane.kind >= 2; ++i) {
      PINION_TRY(const std::uint64_t size, in.varint("chunk size", {0, (std::uint64_t{1} << 31) - 1}));
      plane.chunk_sizes.push_back(size);
    }
  }
  std::vector<std::vector<std::uint8_t>> bytes;
  for (Plane& plane : planes) {
    PINION_TRY_VOID(read_plane_data(in, form, chunk_elements, std::size_t{1} << lanes_log2, plane));
    bytes.push_back(std::move(plane.bytes));
  }
  PINION_TRY_VOID(in.end("the last plane"));
  return bytes;
}

Result<Tensor> decode_reference_lossless(const ReferenceHeader& header, ReferenceReader body,
                                         const Tensor* previous) {
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (elements == 0) return tensor;
  const std::size_t width = size_bytes(header.dtype);
  const int bits = static_cast<int>(8 * width);
  const bool rotated = header.dtype == DType::kBF16 || header.dtype == DType::kF32;
  ReferencePlanesForm form{
      .planes = width, .elements = elements, .channels = header.channels, .contexts = {}};
  for (std::size_t i = 0; i < elements && previous != nullptr; ++i) {
    const std::uint64_t before = element_at(previous->view().data, width, i);
    form.contexts.push_back(
        static_cast<std::uint8_t>((rotated ? rotated_left(before, bits) : before) >> (bits - 8)));
  }
  PINION_TRY(const auto planes, read_reference_planes(body, form));

  const std::uint64_t all = (std::uint64_t{1} << bits) - 1;
  for (std::size_t i = 0; i < elements; ++i) {
    std::uint64_t v = 0;
    for (const auto& plane : planes) v = v * 256 + plane[i];
    if (previous != nullptr) {
      // zigzag undone; ordered() is its own inverse.
      const std::uint64_t change = (v & 1) != 0 ? all - v / 2 : v / 2;
      v = ordered((ordered(element_at(previous->view().data, width, i), bits) + change) & all, bits);
    } else if (rotated) {
      v = (v >> 1) | ((v & 1) << (bits - 1));
    }
    for (std::size_t b = 0; b < width; ++b)
      tensor.mutable_data()[i * width + b] = static_cast<std::byte>(v >> (8 * b));
  }
  return tensor;
}

}  // namespace pinion::codec
