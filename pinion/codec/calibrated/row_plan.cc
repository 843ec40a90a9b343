#include "pinion/codec/calibrated/row_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pinion::codec {
namespace {

constexpr int kStepGrowth = 96;  // an octave and a half from a band to the next
// An error costs its square: twice as many octaves of loudness.
constexpr double kLoudnessPerBand = 2.0 * kStepGrowth / kStepsPerOctave;
static_assert(kStepGrowth <= kMaxStepGrowth);

// log2 of each row's weight.
std::vector<double> loudness_of(const RecordAt& record, const Matrix& centred) {
  std::vector<double> loudness(centred.columns, record.loudness_bias);
  for (std::size_t c = 0; c < record.loudness.size(); ++c) {
    const auto values = centred.row(c);
    for (std::size_t r = 0; r < values.size(); ++r) {
      loudness[r] += static_cast<double>(record.loudness[c]) * values[r];
    }
  }
  for (double& row : loudness) row = std::clamp(row, -kMaxLoudness, kMaxLoudness);
  return loudness;
}

// Less loud rows have a coarser step: errors of all rows then cost the output equally.
RowBands bands_of(std::span<const double> loudness) {
  const double loudest = *std::max_element(loudness.begin(), loudness.end());
  std::vector<std::uint8_t> band_of_row;
  for (const double row : loudness) {
    const long band = std::lround((loudest - row) / kLoudnessPerBand);
    band_of_row.push_back(static_cast<std::uint8_t>(std::clamp(band, 0l, long{kMaxBands} - 1)));
  }
  const std::uint8_t last = *std::max_element(band_of_row.begin(), band_of_row.end());
  return last == 0 ? RowBands(loudness.size()) : RowBands(band_of_row, last + 1u);
}

}  // namespace

RowPlan plan_rows(const RecordAt& record, const Matrix& centred) {
  const std::size_t rows = centred.columns;
  if (record.loudness.empty()) {
    return {RowBands(rows), 0, std::vector<double>(rows, 1), static_cast<double>(rows)};
  }
  const std::vector<double> loudness = loudness_of(record, centred);
  RowPlan plan{bands_of(loudness), kStepGrowth, {}, 0};
  for (std::size_t place = 0; place < rows; ++place) {
    plan.weights.push_back(std::exp2(loudness[plan.bands.row_at(place)]));
  }
  plan.weight_sum = std::accumulate(plan.weights.begin(), plan.weights.end(), 0.0);
  return plan;
}

}  // namespace pinion::codec
