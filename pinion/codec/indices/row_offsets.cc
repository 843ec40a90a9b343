#include "pinion/codec/indices/row_offsets.h"

#include <limits>

#include "pinion/codec/indices/row_bands.h"

namespace pinion::codec {

RowOffsets::RowOffsets(const ComponentParams& params, std::span<const std::uint8_t> band_of_row,
                       std::size_t rows)
    : params_(params), by_scale_(std::numeric_limits<std::uint8_t>::max() + 1) {
  for (const std::uint8_t scale : params.scales) {
    std::vector<std::int32_t>& offsets = by_scale_[scale];
    if (!offsets.empty()) continue;
    std::array<BinOffsets, kMaxBands> of_band{};
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      of_band[band] = params.offsets_of(params.class_at(scale, band));
    }
    offsets.resize(2 * rows);
    for (std::size_t r = 0; r < rows; ++r) {
      const BinOffsets row = of_band[band_of_row.empty() ? 0 : band_of_row[r]];
      offsets[r] = row.one;
      offsets[rows + r] = row.more;
    }
  }
}

}  // namespace pinion::codec
