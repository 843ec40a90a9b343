#pragma once
// Planes of bytes as they stand in a frame (docs/format.md §5.2): raw, constant, or coded by rANS under the
// tables of classes. What the parts of a section are, and how they are read and written. Pure functions.

#include <vector>

#include "pinion/codec/entropy/byte_tables.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {

enum class PlaneKind : std::uint8_t { kRaw = 0, kConstant = 1, kByChannel = 2, kByContext = 3 };

inline constexpr std::size_t kContexts = 256;

// A plane's header.
struct PlaneCoding {
  PlaneKind kind = PlaneKind::kRaw;
  std::uint8_t constant = 0;
  std::vector<std::uint8_t> class_of;  // by channel: of each one, if there is more than one class; by
                                       // context: of each of the 256
  std::vector<Frequencies> tables;     // of each class

  bool is_coded() const { return kind == PlaneKind::kByChannel || kind == PlaneKind::kByContext; }
};

struct CodedPlane {
  PlaneCoding coding;
  std::vector<ByteSpan> chunks;  // borrowed from the frame
  ByteSpan raw;                  // likewise
};

struct PlaneSection {
  int lanes = 1;
  std::int64_t chunk_elements = 0;
  std::vector<CodedPlane> planes;
};

// What a section's reader knows before.
struct PlanesForm {
  std::size_t planes = 1;
  std::int64_t elements = 1;  // ≥ 1
  std::int64_t channels = 1;
  bool has_contexts = false;
};

void write_plane_header(ByteWriter& out, const PlaneCoding& coding);

// Splits a section into its parts; their content is not checked yet.
Result<PlaneSection> parse_planes(const PlanesForm& form, ByteSpan section);

}  // namespace pinion::codec
