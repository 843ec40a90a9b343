#pragma once
// Chunks of byte symbols (docs/format.md §4.2): symbol n is one operation on lane n mod lanes, under the
// table of its class. Built once per CPU path; all paths write the same bytes and accept the same chunks.
// Thread-safe, no state.

#include <span>

#include "pinion/codec/entropy/byte_tables.h"
#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

// What a coder needs besides its tables. `classes` has the class of each symbol; null if there is one class.
struct ByteChunkForm {
  int lanes = 1;
  const std::uint8_t* classes = nullptr;
};

// Room that encode_byte_chunk() needs at least, in bytes.
std::size_t byte_chunk_bound(std::size_t symbols, int lanes);

// Writes the chunk to `out`, which has room for byte_chunk_bound(); returns its size. Every symbol has a
// frequency. `words` is scratch that grows when needed.
std::size_t encode_byte_chunk(std::span<const std::uint8_t> symbols, const ByteChunkForm& form,
                              const ByteEncodeTables& tables, CpuPath path, std::vector<std::uint16_t>& words,
                              std::byte* out);

// kBadFormat unless the chunk holds out.size() symbols, exactly. Classes are below those of the tables.
Result<void> decode_byte_chunk(ByteSpan chunk, const ByteChunkForm& form, const ByteDecodeTables& tables,
                               CpuPath path, std::span<std::uint8_t> out);

}  // namespace pinion::codec
