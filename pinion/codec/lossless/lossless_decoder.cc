#include <algorithm>
#include <bit>

#include "pinion/codec/entropy/rans_fast.h"
#include "pinion/codec/lossless/lossless.h"

namespace pinion::codec {
namespace {

// The tables of one plane, and for several classes the table of every channel.
struct PlaneTables {
  explicit PlaneTables(const Plane& plane) {
    tables.reserve(plane.tables.size());
    for (const Frequencies& frequencies : plane.tables) tables.emplace_back(frequencies);
    for (const std::uint8_t c : plane.class_of_channel) by_channel.push_back(&tables[c]);
  }

  std::vector<DecodeTable> tables;
  std::vector<const DecodeTable*> by_channel;
};

// Decodes `out.size()` symbols whose first belongs to channel `channel`.
Result<void> decode_chunk(ByteSpan chunk, int lanes, const PlaneTables& plane, std::int64_t channel,
                          std::span<std::uint8_t> out) {
  PINION_TRY(ChunkDecoder decoder, ChunkDecoder::open(chunk, lanes));
  if (plane.by_channel.empty()) {
    decode_run(decoder, lanes, plane.tables.front(), out);
  } else {
    decode_by_channel(decoder, lanes, plane.by_channel, static_cast<std::size_t>(channel), out);
  }
  return decoder.finish();
}

template <class Word>
void join_planes(std::span<const std::uint8_t* const> planes, std::int64_t count, bool rotated,
                 std::byte* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    Word value = 0;
    for (const std::uint8_t* plane : planes) value = static_cast<Word>(value << 8 | plane[i]);
    if (rotated) value = std::rotr(value, 1);
    std::memcpy(out + i * static_cast<std::int64_t>(sizeof(Word)), &value, sizeof(Word));
  }
}

void join_two(const std::uint8_t* high, const std::uint8_t* low, std::int64_t count, bool rotated,
              std::byte* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<std::uint16_t>(high[i] << 8 | low[i]);
    const auto turned = static_cast<std::uint16_t>(rotated ? value >> 1 | value << 15 : value);
    std::memcpy(out + i * 2, &turned, sizeof(turned));
  }
}

}  // namespace

Result<Tensor> decode_lossless(const FrameHeader& header, ByteSpan bytes) {
  const std::int64_t elements = header.shape.elements();
  if (elements == 0) return Tensor::empty(header.dtype, header.shape);
  PINION_TRY(const LosslessBody body, parse_lossless(header, bytes));
  const std::int64_t channels = channels_of(header.shape);
  std::vector<PlaneTables> tables;
  tables.reserve(body.planes.size());
  for (const Plane& plane : body.planes) tables.emplace_back(plane);

  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  const auto width = static_cast<std::int64_t>(body.planes.size());
  const std::int64_t chunk_elements = std::min(body.chunk_elements, elements);
  std::vector<std::vector<std::uint8_t>> scratch(body.planes.size());
  std::vector<const std::uint8_t*> sources(body.planes.size());
  for (std::size_t p = 0; p < body.planes.size(); ++p) {
    if (body.planes[p].kind == PlaneKind::kRaw) continue;
    scratch[p].assign(static_cast<std::size_t>(chunk_elements), body.planes[p].constant);
    sources[p] = scratch[p].data();
  }
  std::size_t chunk = 0;
  for (std::int64_t begin = 0; begin < elements; begin += chunk_elements, ++chunk) {
    const std::int64_t count = std::min(chunk_elements, elements - begin);
    for (std::size_t p = 0; p < body.planes.size(); ++p) {
      const Plane& plane = body.planes[p];
      if (plane.kind == PlaneKind::kRaw) {
        sources[p] = reinterpret_cast<const std::uint8_t*>(plane.raw.data()) + begin;
      } else if (plane.kind == PlaneKind::kCoded) {
        PINION_TRY_VOID(decode_chunk(plane.chunks[chunk], body.lanes, tables[p], begin % channels,
                                     std::span(scratch[p]).first(static_cast<std::size_t>(count))));
      }
    }
    std::byte* out = tensor.mutable_data() + begin * width;
    const bool rotated = is_rotated(header.dtype);
    switch (width) {
      case 1:
        join_planes<std::uint8_t>(sources, count, rotated, out);
        break;
      case 2:
        join_two(sources[0], sources[1], count, rotated, out);
        break;
      default:
        join_planes<std::uint32_t>(sources, count, rotated, out);
        break;
    }
  }
  return tensor;
}

}  // namespace pinion::codec
