#include "pinion/codec/lossless/plane_decoder.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>

#include "pinion/codec/lossless/symbol_classes.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kMaxPlanes = 4;

}  // namespace

Result<void> PlaneDecoder::decode(const PlanesForm& form, ByteSpan section, const Hooks& hooks) {
  PINION_TRY(const PlaneSection parsed, parse_planes(form, section));
  PINION_ASSERT(form.planes <= kMaxPlanes);
  const auto elements = static_cast<std::size_t>(form.elements);
  const std::size_t chunk_elements = std::min(static_cast<std::size_t>(parsed.chunk_elements), elements);
  workers_.resize(pool_.threads());
  tables_.resize(std::max(tables_.size(), form.planes));
  std::vector<SymbolClasses> classes;
  bool uses_contexts = false;
  for (std::size_t p = 0; p < form.planes; ++p) {
    const PlaneCoding& coding = parsed.planes[p].coding;
    if (coding.is_coded()) tables_[p].build(coding.tables);
    classes.emplace_back(coding, form.channels, static_cast<std::int64_t>(chunk_elements));
    uses_contexts |= coding.kind == PlaneKind::kByContext;
  }

  std::mutex mutex;
  std::optional<Error> failure;
  const auto decode_chunk = [&](std::size_t index, std::size_t worker) {
    const Chunk chunk{index * chunk_elements, std::min(chunk_elements, elements - index * chunk_elements)};
    WorkerScratch& scratch = workers_[worker];
    scratch.planes.resize(std::max(scratch.planes.size(), form.planes * chunk_elements));
    scratch.classes.resize(std::max(scratch.classes.size(), chunk_elements));
    if (uses_contexts) {
      scratch.contexts.resize(std::max(scratch.contexts.size(), chunk_elements));
      hooks.contexts(chunk, scratch.contexts.data());
    }
    std::array<const std::uint8_t*, kMaxPlanes> planes{};
    for (std::size_t p = 0; p < form.planes; ++p) {
      const CodedPlane& plane = parsed.planes[p];
      std::uint8_t* const out = scratch.planes.data() + p * chunk_elements;
      planes[p] = out;
      if (plane.coding.kind == PlaneKind::kRaw)
        planes[p] = reinterpret_cast<const std::uint8_t*>(plane.raw.data()) + chunk.begin;
      if (plane.coding.kind == PlaneKind::kConstant) std::fill_n(out, chunk.count, plane.coding.constant);
      if (!plane.coding.is_coded()) continue;
      const std::uint8_t* class_of = classes[p].at(static_cast<std::int64_t>(chunk.begin), chunk.count,
                                                   scratch.contexts.data(), scratch.classes.data());
      auto decoded = decode_byte_chunk(plane.chunks[index], {parsed.lanes, class_of}, tables_[p], path_,
                                       {out, chunk.count});
      if (decoded.ok()) continue;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::move(decoded).error();
      return;
    }
    hooks.take(chunk, planes.data());
  };
  pool_.run((elements - 1) / chunk_elements + 1, decode_chunk);
  if (failure) return *failure;
  return {};
}

}  // namespace pinion::codec
