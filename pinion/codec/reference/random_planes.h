#pragma once
// Sections of planes, and frames of exact modes, that follow docs/format.md but that no encoder here would
// choose: every field takes values from all over its range. For tests. Pure functions but for the dice.

#include <algorithm>
#include <array>
#include <bit>

#include "pinion/codec/codec_testing.h"
#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/lossless/byte_planes.h"
#include "pinion/codec/lossless/element_bits.h"

namespace pinion::codec::testing {

inline std::size_t below(Dice& dice, std::size_t limit) { return dice.bits() % limit; }

inline std::uint8_t byte_below(Dice& dice, std::size_t limit) {
  return static_cast<std::uint8_t>(below(dice, limit));
}

// Of a few symbols or of all, one of them with a frequency of up to the whole.
inline Frequencies any_frequencies(Dice& dice) {
  std::vector<std::uint64_t> counts(kMaxAlphabet);
  const std::size_t symbols = below(dice, 2) ? 1 + below(dice, 5) : kMaxAlphabet;
  for (std::size_t i = 0; i < symbols; ++i)
    counts[below(dice, kMaxAlphabet)] += 1 + dice.bits() % (1u << below(dice, 12));
  return normalise_counts(counts);
}

// Appends a plane: what stands in the header, the chunk sizes and the data. `contexts` may be empty.
inline void add_any_plane(Dice& dice, const PlanesForm& form, std::span<const std::uint8_t> contexts,
                          const PlaneSection& section, std::array<ByteWriter, 3>& out) {
  auto& [head, sizes, data] = out;
  const auto elements = static_cast<std::size_t>(form.elements);
  PlaneCoding coding;
  coding.kind = static_cast<PlaneKind>(byte_below(dice, form.has_contexts ? 4 : 3));
  coding.constant = byte_below(dice, 256);
  const std::size_t classes = 1 + below(dice, kMaxByteClasses);
  if (coding.kind == PlaneKind::kByContext || (coding.kind == PlaneKind::kByChannel && classes > 1)) {
    coding.class_of.resize(coding.kind == PlaneKind::kByContext ? kContexts
                                                                : static_cast<std::size_t>(form.channels));
    for (std::uint8_t& k : coding.class_of) k = byte_below(dice, classes);
  }
  for (std::size_t i = 0; i < classes && coding.is_coded(); ++i)
    coding.tables.push_back(any_frequencies(dice));
  write_plane_header(head, coding);
  if (coding.kind == PlaneKind::kRaw) {
    for (std::size_t i = 0; i < elements; ++i) data.write(byte_below(dice, 256));
  }
  if (!coding.is_coded()) return;
  const std::vector<EncodeTable> encode(coding.tables.begin(), coding.tables.end());
  const auto chunk_elements = static_cast<std::size_t>(section.chunk_elements);
  for (std::size_t begin = 0; begin < elements; begin += chunk_elements) {
    ChunkEncoder chunk(section.lanes);
    for (std::size_t n = std::min(chunk_elements, elements - begin); n-- > 0;) {
      std::size_t of = 0;
      if (coding.kind == PlaneKind::kByContext) of = coding.class_of[contexts[begin + n]];
      if (coding.kind == PlaneKind::kByChannel && classes > 1)
        of = coding.class_of[(begin + n) % static_cast<std::size_t>(form.channels)];
      std::size_t symbol = below(dice, kMaxAlphabet);
      while (coding.tables[of][symbol] == 0) symbol = (symbol + 1) % kMaxAlphabet;
      chunk.put(static_cast<int>(n % static_cast<std::size_t>(section.lanes)), encode[of][symbol]);
    }
    write_varint(sizes, chunk.finish(data));
  }
}

inline Bytes any_planes(Dice& dice, const PlanesForm& form, std::span<const std::uint8_t> contexts) {
  PlaneSection section;
  section.lanes = 1 << (below(dice, 2) ? 5 : below(dice, 6));
  section.chunk_elements =
      static_cast<std::int64_t>(1 + below(dice, static_cast<std::size_t>(form.elements) + 3));
  ByteWriter out;
  out.write(static_cast<std::uint8_t>(std::bit_width(static_cast<unsigned>(section.lanes)) - 1));
  write_varint(out, static_cast<std::uint64_t>(section.chunk_elements));
  std::array<ByteWriter, 3> parts;
  for (std::size_t p = 0; p < form.planes; ++p) add_any_plane(dice, form, contexts, section, parts);
  for (const ByteWriter& part : parts) out.write_bytes(part.view());
  return std::move(out).take();
}

// Predicts from `previous`, a tensor of the same type and shape, where it is not null.
struct PreviousTensor {
  Tensor tensor;
  std::uint32_t checksum = 0;
};
inline Bytes any_lossless_frame(Dice& dice, DType dtype, const Shape& shape, const PreviousTensor* previous) {
  FrameHeader header{Mode::kLossless, dtype, shape, std::nullopt, std::nullopt};
  std::vector<std::uint8_t> contexts;
  if (previous != nullptr) {
    header.previous = previous->checksum;
    contexts.resize(static_cast<std::size_t>(shape.elements()));
    context_bytes(previous->tensor.view().data, dtype, contexts.size(), contexts.data());
  }
  return write_frame(header, any_planes(dice,
                                        {.planes = size_bytes(dtype),
                                         .elements = shape.elements(),
                                         .channels = channels_of(shape),
                                         .has_contexts = previous != nullptr},
                                        contexts));
}

}  // namespace pinion::codec::testing
