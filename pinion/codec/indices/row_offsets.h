#pragma once
// The bin offsets of a frame's classes, spread over the rows of a component, as the vector loops want them.
// Immutable, but for the params that it borrows.

#include <span>
#include <vector>

#include "pinion/codec/indices/component_params.h"

namespace pinion::codec {

class RowOffsets {
 public:
  // `band_of_row` is empty if there is one band. Both are borrowed.
  RowOffsets(const ComponentParams& params, std::span<const std::uint8_t> band_of_row, std::size_t rows);

  // Offsets of residuals of size 1 by row, then, `rows` further, of larger ones.
  const std::int32_t* of(std::size_t component) const { return by_scale_[params_.scales[component]].data(); }

 private:
  const ComponentParams& params_;
  std::vector<std::vector<std::int32_t>> by_scale_;  // of the scales that components have
};

}  // namespace pinion::codec
