#include <algorithm>
#include <bit>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/lossless/byte_planes.h"
#include "pinion/codec/lossless/frequency_coding.h"

namespace pinion::codec {
namespace {

Error broken(std::string_view what) {
  return Error{Errc::kBadFormat, "planes of a frame: " + std::string(what), ""};
}

int class_bits(std::size_t classes) { return std::bit_width(static_cast<unsigned>(classes - 1)); }

void write_runs(BitWriter& bits, const std::vector<std::uint8_t>& class_of, int width) {
  for (std::size_t begin = 0; begin < class_of.size();) {
    std::size_t end = begin + 1;
    while (end < class_of.size() && class_of[end] == class_of[begin]) ++end;
    bits.write(class_of[begin], width);
    bits.write_gamma(static_cast<std::uint32_t>(end - begin));
    begin = end;
  }
}

Error no_such_class() { return broken("a class that is not there"); }

Result<void> read_runs(BitReader& bits, std::size_t classes, std::vector<std::uint8_t>& class_of) {
  while (class_of.size() < kContexts) {
    const std::uint32_t index = bits.read(class_bits(classes));
    const std::uint32_t run = bits.read_gamma();
    if (index >= classes) return no_such_class();
    if (bits.failed() || run > kContexts - class_of.size()) return broken("too many contexts");
    class_of.resize(class_of.size() + run, static_cast<std::uint8_t>(index));
  }
  return {};
}

Result<void> read_coded_header(ByteReader& in, const PlanesForm& form, PlaneCoding& coding) {
  const std::size_t classes = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("planes"));
  if (classes == 0 || classes > kMaxByteClasses) return broken("impossible number of classes");
  ByteReader ahead = in;
  BitReader bits(ahead.take(ahead.remaining()));
  if (coding.kind == PlaneKind::kByContext) {
    PINION_TRY_VOID(read_runs(bits, classes, coding.class_of));
  } else if (classes > 1) {
    if (static_cast<std::uint64_t>(form.channels) > in.remaining() * 8)
      return broken("the classes are cut short");
    coding.class_of.resize(static_cast<std::size_t>(form.channels));
    std::uint32_t largest = 0;
    for (std::uint8_t& of_channel : coding.class_of) {
      const std::uint32_t index = bits.read(class_bits(classes));
      largest = std::max(largest, index);
      of_channel = static_cast<std::uint8_t>(index);
    }
    if (largest >= classes) return no_such_class();
  }
  for (std::size_t i = 0; i < classes; ++i) {
    PINION_TRY(Frequencies table, read_frequencies(bits));
    coding.tables.push_back(std::move(table));
  }
  if (!bits.ends_cleanly()) return broken("the tables do not end cleanly");
  in.take(bits.bytes_read());
  return {};
}

Result<void> read_plane_header(ByteReader& in, const PlanesForm& form, PlaneCoding& coding) {
  const auto kind = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("planes"));
  const auto last = form.has_contexts ? PlaneKind::kByContext : PlaneKind::kByChannel;
  if (kind > static_cast<std::uint8_t>(last)) return broken("a plane of another kind");
  coding.kind = static_cast<PlaneKind>(kind);
  if (coding.is_coded()) return read_coded_header(in, form, coding);
  if (coding.kind == PlaneKind::kConstant) coding.constant = in.read<std::uint8_t>();
  return in.check("planes");
}

}  // namespace

void write_plane_header(ByteWriter& out, const PlaneCoding& coding) {
  out.write(static_cast<std::uint8_t>(coding.kind));
  if (coding.kind == PlaneKind::kConstant) out.write(coding.constant);
  if (!coding.is_coded()) return;
  const std::size_t classes = coding.tables.size();
  out.write(static_cast<std::uint8_t>(classes));
  BitWriter bits;
  if (coding.kind == PlaneKind::kByContext) {
    write_runs(bits, coding.class_of, class_bits(classes));
  } else {
    for (const std::uint8_t c : coding.class_of) bits.write(c, class_bits(classes));
  }
  for (const Frequencies& table : coding.tables) write_frequencies(bits, table);
  out.write_bytes(std::move(bits).finish());
}

Result<PlaneSection> parse_planes(const PlanesForm& form, ByteSpan section) {
  const auto elements = static_cast<std::uint64_t>(form.elements);
  ByteReader in(section);
  PlaneSection parsed;
  const auto lanes_log2 = in.read<std::uint8_t>();
  PINION_TRY(const std::uint64_t chunk_elements, read_varint(in, "planes"));
  if (lanes_log2 > std::bit_width(unsigned{kMaxLanes}) - 1) return broken("too many lanes");
  if (chunk_elements == 0 || chunk_elements > kMaxElements) return broken("impossible chunk size");
  parsed.lanes = 1 << lanes_log2;
  parsed.chunk_elements = static_cast<std::int64_t>(chunk_elements);
  parsed.planes.resize(form.planes);
  for (CodedPlane& plane : parsed.planes) PINION_TRY_VOID(read_plane_header(in, form, plane.coding));

  const std::uint64_t chunks = (elements - 1) / chunk_elements + 1;
  std::vector<std::uint64_t> sizes;
  for (const CodedPlane& plane : parsed.planes) {
    if (!plane.coding.is_coded()) continue;
    if (chunks > in.remaining()) return broken("the chunk sizes are cut short");
    for (std::uint64_t i = 0; i < chunks; ++i) {
      PINION_TRY(const std::uint64_t size, read_varint(in, "planes"));
      if (size > kMaxExtent) return broken("impossible size of a chunk");
      sizes.push_back(size);
    }
  }
  auto next_size = sizes.begin();
  for (CodedPlane& plane : parsed.planes) {
    if (plane.coding.kind == PlaneKind::kRaw) plane.raw = in.take(elements);
    if (!plane.coding.is_coded()) continue;
    plane.chunks.reserve(chunks);
    for (std::uint64_t i = 0; i < chunks; ++i) plane.chunks.push_back(in.take(*next_size++));
  }
  PINION_TRY_VOID(in.check("planes"));
  if (in.remaining() != 0) return broken("stray bytes after the last chunk");
  return parsed;
}

}  // namespace pinion::codec
