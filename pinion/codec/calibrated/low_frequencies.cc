#include "pinion/codec/calibrated/low_frequencies.h"

#include <algorithm>

namespace pinion::codec {

RowBands low_bands(const TokenGrid& grid, std::size_t rows, std::size_t classes) {
  std::vector<std::uint8_t> low = frequency_classes(grid, rows);
  std::erase_if(low, [&](std::uint8_t of_row) { return of_row >= classes; });
  std::sort(low.begin(), low.end());
  return RowBands(low, classes);
}

void write_low_frequencies(ByteWriter& out, std::span<const std::uint8_t> levels, std::size_t rows,
                           const CalibratedParams& params, const ComponentParams& classes,
                           std::span<std::int32_t> indices, double bits, IndexTables& tables,
                           ChunkPool& pool) {
  ByteWriter part;
  write_grid(part, params.grid);
  part.write(static_cast<std::uint8_t>(params.bands.count));
  part.write(params.step_log2);
  part.write(shapes_byte(params));
  part.write(params.scale_offset);
  write_band_scales(part, params.bands);
  if (params.has_scales) write_scales(part, levels, params, classes);
  const RowBands bands = low_bands(params.grid, rows, params.bands.count);
  write_index_chunks(part, choose_grid(classes, bands.rows(), bits),
                     {.params = classes, .band_ends = bands.ends(), .values = indices}, tables, pool);
  write_varint(out, part.size());
  out.write_bytes(part.view());
}

Result<LowFrequencies> read_low_frequencies(ByteReader& in, std::size_t rows,
                                            std::span<const std::uint8_t> levels) {
  PINION_TRY(const std::uint64_t size, read_varint(in, "calibrated frame"));
  ByteReader part(in.take(size));
  PINION_TRY_VOID(in.check("calibrated frame"));
  LowFrequencies low;
  CalibratedParams& params = low.params;
  PINION_TRY(params.grid, read_grid(part, rows));
  params.bands.count = part.read<std::uint8_t>();
  params.step_log2 = part.read<std::int16_t>();
  const auto shapes = part.read<std::uint8_t>();
  params.scale_offset = part.read<std::int8_t>();
  PINION_TRY_VOID(part.check("calibrated frame"));
  if (params.bands.count < 1 || params.bands.count >= kFrequencyClasses)
    return broken_calibrated_frame("impossible number of low frequencies");
  PINION_TRY_VOID(check_step(params));
  PINION_TRY_VOID(read_shapes(shapes, params));
  if (params.layout != RowLayout::kCoefficients)
    return broken_calibrated_frame("its low frequencies are no coefficients");
  PINION_TRY_VOID(read_band_scales(part, params.bands));
  low.components = component_classes(levels, params);
  if (params.has_scales) PINION_TRY_VOID(read_scales(part, low.components));
  const std::size_t places = low_bands(params.grid, rows, params.bands.count).rows();
  PINION_TRY(low.chunks, parse_index_chunks(part, low.components, places));
  return low;
}

Result<void> decode_low_frequencies(const LowFrequencies& low, std::size_t rows, IndexTables& tables,
                                    ChunkPool& pool, std::vector<std::int32_t>& indices) {
  const RowBands bands = low_bands(low.params.grid, rows, low.params.bands.count);
  indices.resize(low.components.scales.size() * bands.rows());
  return decode_index_chunks(
      low.chunks, {.params = low.components, .band_ends = bands.ends(), .values = indices}, tables, pool);
}

void add_low_frequencies(const CalibratedParams& params, std::span<const std::int32_t> indices,
                         ChunkPool& pool, Matrix& prediction) {
  advance_components(params, frequency_bands(params.grid, prediction.columns), indices, pool, prediction);
}

}  // namespace pinion::codec
