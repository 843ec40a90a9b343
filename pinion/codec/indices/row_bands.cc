#include "pinion/codec/indices/row_bands.h"

#include "pinion/base/assert.h"

namespace pinion::codec {

RowBands::RowBands(std::size_t rows) : ends_{rows} {}

RowBands::RowBands(std::span<const std::uint8_t> band_of_row, std::size_t bands) {
  PINION_ASSERT(bands >= 1 && bands <= kMaxBands);
  row_at_.reserve(band_of_row.size());
  for (std::size_t band = 0; band < bands; ++band) {
    for (std::size_t row = 0; row < band_of_row.size(); ++row) {
      if (band_of_row[row] == band) row_at_.push_back(row);
    }
    ends_.push_back(row_at_.size());
  }
  PINION_ASSERT(row_at_.size() == band_of_row.size());
}

std::vector<std::uint8_t> RowBands::band_of_row() const {
  std::vector<std::uint8_t> bands(row_at_.size());
  std::size_t place = 0;
  for (std::size_t band = 0; band < ends_.size(); ++band) {
    for (; place < ends_[band] && place < row_at_.size(); ++place) {
      bands[row_at_[place]] = static_cast<std::uint8_t>(band);
    }
  }
  return bands;
}

}  // namespace pinion::codec
