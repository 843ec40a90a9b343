#pragma once
// The encoder's side of loudness (docs/format.md §13.1): how much an error of each row counts, and the bands
// that follow. Pure functions.

#include <span>
#include <vector>

#include "pinion/codec/calibrated/calibrated_format.h"

namespace pinion::codec {

struct RowPlan {
  RowBands bands;
  int step_growth = 0;          // from each band to the next, as CalibratedBands has it
  std::vector<double> weights;  // [rows] in coded order: output error energy per gain and squared error
  double weight_sum = 0;
};

// `centred` is the tensor without its means, [channels, rows].
RowPlan plan_rows(const RecordAt& record, const Matrix& centred);

}  // namespace pinion::codec
