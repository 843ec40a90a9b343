#include "pinion/codec/lossless/plane_encoder.h"

#include <algorithm>
#include <bit>

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/lossless/symbol_classes.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBytesPerLane = 64;  // of coded data, so that lane states weigh little

// 32, but for data so small that the states of as many lanes would show.
int choose_lanes_log2(const std::vector<PlaneChoice>& planes, std::size_t chunks) {
  double most = 0;
  for (const PlaneChoice& plane : planes) {
    if (plane.coding.is_coded()) most = std::max(most, plane.coded_bits / 8);
  }
  const auto lanes = static_cast<unsigned>(most / static_cast<double>(chunks) / kBytesPerLane);
  return std::bit_width(std::clamp(lanes, 1u, unsigned{kMaxLanes})) - 1;
}

}  // namespace

void PlaneEncoder::encode_chunks(const PlanesInput& input, std::size_t plane, const PlaneChoice& choice,
                                 int lanes) {
  const std::size_t chunks = (input.elements - 1) / kChunkElements + 1;
  const std::size_t bound = byte_chunk_bound(std::min(input.elements, kChunkElements), lanes);
  Slots& slots = slots_[plane];
  slots.sizes.resize(chunks);
  if (slots.room < chunks * bound) {
    slots.room = chunks * bound;
    slots.bytes = std::make_unique_for_overwrite<std::byte[]>(slots.room);
  }
  const PlaneCoding& coding = choice.coding;
  const bool by_context = coding.kind == PlaneKind::kByContext;
  ByteEncodeTables tables;
  if (by_context) {
    // A table for each of the finest classes, so that elements need not be classed anew.
    std::vector<Frequencies> of_finest;
    for (const std::uint8_t k : choice.merged) of_finest.push_back(coding.tables[k]);
    tables.build(of_finest);
  } else {
    tables.build(coding.tables);
  }
  const SymbolClasses classes(coding, static_cast<std::int64_t>(input.channels), kChunkElements);
  pool_.run(chunks, [&](std::size_t chunk, std::size_t worker) {
    const std::size_t begin = chunk * kChunkElements,
                      count = std::min(kChunkElements, input.elements - begin);
    const std::uint8_t* class_of =
        by_context ? classes_.data() + begin
                   : classes.at(static_cast<std::int64_t>(begin), count, nullptr, nullptr);
    slots.sizes[chunk] = encode_byte_chunk({input.planes[plane] + begin, count}, {lanes, class_of}, tables,
                                           path_, words_[worker], slots.bytes.get() + chunk * bound);
  });
}

void PlaneEncoder::class_elements(const PlanesInput& input, const std::vector<std::uint8_t>& of_context) {
  classes_.resize(std::max(classes_.size(), input.elements));
  pool_.run((input.elements - 1) / kChunkElements + 1, [&](std::size_t chunk, std::size_t) {
    const std::size_t begin = chunk * kChunkElements;
    const std::size_t end = std::min(input.elements, begin + kChunkElements);
    const std::uint8_t* const map = of_context.data();
    std::uint8_t* const to = classes_.data();
    for (std::size_t i = begin; i < end; ++i) to[i] = map[input.contexts[i]];
  });
}

std::vector<ByteSpan> PlaneEncoder::encode(const PlanesInput& input) {
  const std::size_t chunks = (input.elements - 1) / kChunkElements + 1;
  words_.resize(pool_.threads());
  slots_.resize(std::max(slots_.size(), input.planes.size()));
  ContextClasses contexts{{}, nullptr};
  if (input.contexts != nullptr) {
    contexts.of_context = choose_context_classes({input.planes.front(), input.elements}, input.contexts);
    class_elements(input, contexts.of_context);
    contexts.of_element = classes_.data();
  }
  std::vector<PlaneChoice> choices;
  for (const std::uint8_t* plane : input.planes) {
    choices.push_back(choose_plane_coding({.bytes = {plane, input.elements},
                                           .channels = input.channels,
                                           .contexts = input.contexts == nullptr ? nullptr : &contexts},
                                          pool_));
  }
  const int lanes_log2 = choose_lanes_log2(choices, chunks);
  const int lanes = 1 << lanes_log2;
  ByteWriter head;
  head.write(static_cast<std::uint8_t>(lanes_log2));
  write_varint(head, kChunkElements);
  for (const PlaneChoice& choice : choices) write_plane_header(head, choice.coding);
  std::vector<ByteSpan> parts(1);
  const std::size_t bound = byte_chunk_bound(std::min(input.elements, kChunkElements), lanes);
  for (std::size_t p = 0; p < choices.size(); ++p) {
    if (choices[p].coding.kind == PlaneKind::kRaw)
      parts.push_back(std::as_bytes(std::span(input.planes[p], input.elements)));
    if (!choices[p].coding.is_coded()) continue;
    encode_chunks(input, p, choices[p], lanes);
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      write_varint(head, slots_[p].sizes[chunk]);
      parts.emplace_back(slots_[p].bytes.get() + chunk * bound, slots_[p].sizes[chunk]);
    }
  }
  head_ = std::move(head).take();
  parts.front() = head_;
  return parts;
}

}  // namespace pinion::codec
