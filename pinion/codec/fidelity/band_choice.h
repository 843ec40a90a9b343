#pragma once
// The encoder's choice of row bands: rows whose residuals are of about one size
// share one.

#include <span>
#include <vector>

#include "pinion/codec/indices/row_bands.h"

namespace pinion::codec {

struct BandChoice {
  std::vector<std::uint8_t> band_of_row;  // empty: one band
  std::size_t bands = 1;
};

// `sizes` has the mean square of each row's residuals, every component measured by its own. One band where
// rows are few or alike.
BandChoice choose_bands(std::span<const float> sizes);

}  // namespace pinion::codec
