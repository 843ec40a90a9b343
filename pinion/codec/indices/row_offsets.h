#pragma once
// The bin offsets of a frame's classes, spread over the rows of a component, as the vector loops want them.
// Used by one thread at a time.

#include <span>
#include <vector>

#include "pinion/codec/indices/component_params.h"

namespace pinion::codec {

class RowOffsets {
 public:
  // `band_of_row` is empty if there is one band. Both are borrowed.
  RowOffsets(const ComponentParams& params, std::span<const std::uint8_t> band_of_row, std::size_t rows);

  // Offsets of residuals of size 1 by row, then, `rows` further, of larger ones.
  const std::int32_t* of(std::size_t component);

 private:
  const ComponentParams& params_;
  std::span<const std::uint8_t> band_of_row_;
  std::size_t rows_;
  std::vector<std::vector<std::int32_t>> by_scale_;  // made when first asked for
};

}  // namespace pinion::codec
