#pragma once
// docs/format.md as a decoder, in the order of the document: one stream, frame after frame, bytes in, tensor
// out.
//
// Written apart from the decoder that ships (pinion/codec/codec.h), to be read beside the document and to
// test the other against: the two agree on every integer and on what they refuse. Plain and slow. One object
// is used by one thread at a time.

#include <array>
#include <map>
#include <optional>

#include "pinion/codec/codec.h"
#include "pinion/codec/reference/reference_coding.h"

namespace pinion::codec {

using ReferenceBasisId = std::array<std::byte, 16>;

// §6.4. Integers of the last frame of mode 2.
struct ReferenceState {
  std::uint32_t checksum = 0;
  std::optional<ReferenceBasisId> basis;
  std::size_t rows = 0;
  std::size_t channels = 0;
  int mean_shift = 0;
  std::vector<std::int64_t> means;                    // [channels]
  std::vector<int> scales;                            // [components]
  std::vector<std::vector<std::int64_t>> components;  // [components][rows]
  std::vector<std::vector<std::int64_t>> older;       // of the state before
};

// §5.3 and §9.4. The last tensor of a mode.
struct ReferenceTensorState {
  std::uint32_t checksum = 0;
  Tensor tensor;
};

struct ReferenceFrame {
  Tensor tensor;
  // Mode 2, for each element: the exact value, and by how much another decoder may differ from it before it
  // rounds to the element type (§6.5); infinite where the document promises nothing. Empty in exact modes.
  std::vector<double> values;
  std::vector<double> tolerances;
};

// §7.
struct ReferenceBasis {
  std::size_t channels = 0;
  std::vector<std::vector<float>> rows;  // [components][channels]
};

class ReferenceDecoder {
 public:
  // Errors as those of Decoder; kBadFormat and kNeedMoreBytes mean the same. `log` gets every field.
  Result<void> add_basis(ByteSpan asset, const BasisLimits& limits, ReferenceLog* log = nullptr);
  Result<ReferenceFrame> decode(ByteSpan frame, const DecodeLimits& limits, ReferenceLog* log = nullptr);

  // Null if no asset of that name was added.
  const ReferenceBasis* basis(const ReferenceBasisId& id) const;

  // Null before the first frame of mode 2.
  const ReferenceState* state() const { return state_ ? &*state_ : nullptr; }

 private:
  std::map<ReferenceBasisId, ReferenceBasis> bases_;
  std::uint64_t coefficients_ = 0;
  std::optional<ReferenceState> state_;
  std::map<std::uint64_t, ReferenceTensorState> tensors_;  // by mode: 1 and 3
  ReferenceTables tables_;
};

}  // namespace pinion::codec
