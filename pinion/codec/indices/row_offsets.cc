#include "pinion/codec/indices/row_offsets.h"

#include <limits>

#include "pinion/codec/indices/row_bands.h"

namespace pinion::codec {

RowOffsets::RowOffsets(const ComponentParams& params, std::span<const std::uint8_t> band_of_row,
                       std::size_t rows)
    : params_(params),
      band_of_row_(band_of_row),
      rows_(rows),
      by_scale_(std::numeric_limits<std::uint8_t>::max() + 1) {}

const std::int32_t* RowOffsets::of(std::size_t component) {
  std::vector<std::int32_t>& offsets = by_scale_[params_.scales[component]];
  if (!offsets.empty()) return offsets.data();
  std::array<BinOffsets, kMaxBands> of_band{};
  for (std::size_t band = 0; band < params_.band_scales.size(); ++band) {
    of_band[band] = params_.offsets_of(params_.index_class(component, band));
  }
  offsets.resize(2 * rows_);
  for (std::size_t r = 0; r < rows_; ++r) {
    const BinOffsets row = of_band[band_of_row_.empty() ? 0 : band_of_row_[r]];
    offsets[r] = row.one;
    offsets[rows_ + r] = row.more;
  }
  return offsets.data();
}

}  // namespace pinion::codec
