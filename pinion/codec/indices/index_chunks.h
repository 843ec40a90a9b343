#pragma once
// A matrix of integers, components by rows, cut into chunks that decode
// independently (docs/format.md §6.3). Shared by fidelity frames and basis
// assets. Pure functions but for the tables they fill; threads of a pool share the chunks.

#include <span>
#include <vector>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/indices/component_params.h"
#include "pinion/codec/indices/index_coding.h"
#include "pinion/codec/indices/row_bands.h"

namespace pinion::codec {

inline constexpr std::uint64_t kMaxChunkExtent = (1ull << 31) - 1;

// How the matrix is cut: components with a scale above 0 ("active") in groups,
// rows in tiles.
struct ChunkGrid {
  int lanes = 1;
  std::size_t tile_rows = 1;
  std::size_t group_components = 1;
};

// The matrix with what is needed to code it. A frame's means ride in front of
// chunk 0 as one more run.
struct IndexMatrix {
  const ComponentParams& params;
  std::span<const std::size_t> band_ends;  // where each band of rows ends; the last is the number of rows
  std::span<std::int32_t> values;          // [components, rows]
  IndexClass lead_class{};                 // scale 0: no values in the lead
  std::span<std::int32_t> lead{};

  std::size_t rows() const { return band_ends.back(); }
};

// Lanes and chunks for about `bits` of coded data, so that lane states stay
// below one percent of it.
ChunkGrid choose_grid(const ComponentParams& params, std::size_t rows, double bits);

void write_index_chunks(ByteWriter& out, const ChunkGrid& grid, const IndexMatrix& matrix,
                        IndexTables& tables, ChunkPool& pool);

// The grid and the chunks' bytes, from the reader's place to its end.
struct IndexChunks {
  ChunkGrid grid;
  std::vector<ByteSpan> chunks;
};
Result<IndexChunks> parse_index_chunks(ByteReader& in, const ComponentParams& params, std::size_t rows);

// Fills values and lead; those without a class become 0.
Result<void> decode_index_chunks(const IndexChunks& coded, const IndexMatrix& matrix, IndexTables& tables,
                                 ChunkPool& pool);

// One run as a chunk of its own, with one lane; no bytes if the class has scale
// 0.
Bytes encode_run(std::span<const std::int32_t> values, IndexClass index_class, IndexTables& tables);
Result<void> decode_run(ByteSpan chunk, IndexClass index_class, IndexTables& tables,
                        std::span<std::int32_t> values);

// The components of scale above 0, in order.
std::vector<std::size_t> active_components(const ComponentParams& params);

}  // namespace pinion::codec
