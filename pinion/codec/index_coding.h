#pragma once
// Runs of integers through the built-in tables: what one component takes in a chunk (docs/format.md §6.3).
// Thread-safe as long as the chunk and the tables are one thread's.

#include <span>

#include "pinion/codec/index_tables.h"

namespace pinion::codec {

inline constexpr std::int32_t kMaxIndex = (1 << 26) - 1;  // of an index or a residual, either sign

// Puts a run in front of what the chunk holds already. |value| ≤ kMaxIndex; the class has scale ≥ 1.
void encode_indices(ChunkEncoder& chunk, int lanes, IndexTables& tables, IndexClass index_class,
                    std::span<const std::int32_t> values);

// Reads the run. kBadFormat if a value is out of range; a chunk that is too short shows in its finish().
Result<void> decode_indices(ChunkDecoder& chunk, int lanes, IndexTables& tables, IndexClass index_class,
                            std::span<std::int32_t> values);

}  // namespace pinion::codec
