#pragma once
// Runs of integers through one table: what one component takes in a chunk
// (docs/format.md §6.3). Thread-safe as long as the chunk and the tables are
// one thread's.

#include <span>

#include "pinion/codec/indices/index_tables.h"

namespace pinion::codec {

inline constexpr std::int32_t kMaxIndex = (1 << 26) - 1;  // of an index or a residual, either sign

// What a table codes of an index; the lower `shift` bits of the rest are plain.
inline std::int32_t high_part(std::int32_t value, int shift) {
  return shift == 0 ? value : (value + (1 << (shift - 1))) >> shift;
}

// Puts a run in front of what the chunk holds already. |value| ≤ kMaxIndex, and
// the table has all its symbols.
void encode_indices(ChunkEncoder& chunk, int lanes, ClassCode code, std::span<const std::int32_t> values);

// Reads the run. kBadFormat if a value is out of range; a chunk that is too
// short shows in its finish().
Result<void> decode_indices(ChunkDecoder& chunk, int lanes, ClassCode code, std::span<std::int32_t> values);

}  // namespace pinion::codec
