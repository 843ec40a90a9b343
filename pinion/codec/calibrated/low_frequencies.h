#pragma once
// What varies slowly over pictures, in front of a frame's rows (docs/format.md §12.8). Pure functions but for
// the tables they fill.

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

// Where each of the first classes of frequencies ends among their coefficients of whole pictures, in coded
// order: that of all coefficients, which begins with them. Its rows are those places, not tokens.
RowBands low_bands(const TokenGrid& grid, std::size_t rows, std::size_t classes);

// `classes` are the components', for params.bands.count classes of frequencies; `indices` is [components,
// places of low_bands()], and `bits` about what they take.
void write_low_frequencies(ByteWriter& out, std::span<const std::uint8_t> levels, std::size_t rows,
                           const CalibratedParams& params, const ComponentParams& classes,
                           std::span<std::int32_t> indices, double bits, IndexTables& tables,
                           ChunkPool& pool);

// Without the indices. kBadFormat if it is impossible.
Result<LowFrequencies> read_low_frequencies(ByteReader& in, std::size_t rows,
                                            std::span<const std::uint8_t> levels);

// Fills `indices`, [components, places of low_bands()].
Result<void> decode_low_frequencies(const LowFrequencies& low, std::size_t rows, IndexTables& tables,
                                    ChunkPool& pool, std::vector<std::int32_t>& indices);

// Adds what the indices say to `prediction`, [components, rows], and keeps it in range.
void add_low_frequencies(const CalibratedParams& params, std::span<const std::int32_t> indices,
                         ChunkPool& pool, Matrix& prediction);

}  // namespace pinion::codec
