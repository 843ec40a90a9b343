#pragma once
// The encoder's side of loudness (docs/format.md §13.1): how much an error of each row counts, and the bands
// that follow. Pure functions.

#include <span>
#include <vector>

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

struct RowPlan {
  RowBands bands;
  int step_growth = 0;  // from each band to the next, as CalibratedBands has it
  // [rows] in coded order: output error energy per gain and squared error. Empty: all are 1.
  std::vector<float> weights;
  double weight_sum = 0;
};

// `loudness` is that of each row, log2, as the record has it; without loudness in the record all rows are
// alike.
RowPlan plan_rows(const RecordAt& record, std::span<const double> loudness);

}  // namespace pinion::codec
