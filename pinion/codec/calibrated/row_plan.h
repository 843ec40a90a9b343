#pragma once
// The encoder's side of how rows are coded: how much an error of each counts and the bands that follow
// (docs/format.md §13.1), or coefficients of a grid in their place (§12.7). Pure functions.

#include <span>
#include <vector>

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

struct RowPlan {
  RowLayout layout = RowLayout::kTokens;
  RowBands bands;
  int step_growth = 0;  // from each band to the next, as CalibratedBands has it
  // [rows] in coded order: output error energy per gain and squared error. Empty: all are 1.
  std::vector<float> weights;
  double weight_sum = 0;
  TokenGrid grid = {};  // of coefficients
};

// `loudness` is that of each row, log2, as the record has it; without loudness in the record all rows are
// alike.
RowPlan plan_rows(const RecordAt& record, std::span<const double> loudness);

// Rows that are all alike, whole pictures, transformed.
RowPlan plan_coefficients(const TokenGrid& grid, std::size_t rows);

// Residuals [components, rows] in row order, transformed on `grid` and put into the coded order of
// frequency_bands(). Threads of the pool share the components.
void transform_rows(const TokenGrid& grid, const RowBands& order, ChunkPool& pool, Matrix& residual);

}  // namespace pinion::codec
