#include "pinion/codec/calibrated/row_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pinion/codec/calibrated/loudness_bands.h"

namespace pinion::codec {
namespace {

// Less loud rows have a coarser step: errors of all rows then count equally.
RowBands bands_of(std::span<const double> loudness, const LoudnessBands& how) {
  const double loudest = *std::max_element(loudness.begin(), loudness.end());
  std::vector<std::uint8_t> band_of_row;
  for (const double row : loudness) {
    const long band = std::lround((loudest - row) / how.octaves());
    band_of_row.push_back(static_cast<std::uint8_t>(std::clamp(band, 0l, long{kMaxBands} - 1)));
  }
  const std::uint8_t last = *std::max_element(band_of_row.begin(), band_of_row.end());
  return last == 0 ? RowBands(loudness.size()) : RowBands(band_of_row, last + 1u);
}

}  // namespace

RowPlan plan_rows(const RecordAt& record, std::span<const double> loudness) {
  const std::size_t rows = loudness.size();
  if (record.loudness.empty()) return {RowLayout::kTokens, RowBands(rows), 0, {}, static_cast<double>(rows)};
  std::vector<double> bounded(loudness.begin(), loudness.end());
  for (double& row : bounded) row = std::clamp(row, -kMaxLoudness, kMaxLoudness);
  const LoudnessBands how = loudness_bands(!record.latent_mean.empty());
  RowPlan plan{RowLayout::kBands, bands_of(bounded, how), how.step_growth, {}, 0};
  if (plan.bands.count() == 1) plan.layout = RowLayout::kTokens;
  for (std::size_t place = 0; place < rows; ++place) {
    plan.weights.push_back(static_cast<float>(std::exp2(bounded[plan.bands.row_at(place)])));
  }
  plan.weight_sum = std::accumulate(plan.weights.begin(), plan.weights.end(), 0.0);
  return plan;
}

RowPlan plan_coefficients(const TokenGrid& grid, std::size_t rows) {
  return {.layout = RowLayout::kCoefficients,
          .bands = frequency_bands(grid, rows),
          .step_growth = 0,
          .weights = {},
          .weight_sum = static_cast<double>(rows),
          .grid = grid};
}

void transform_rows(const TokenGrid& grid, const RowBands& order, ChunkPool& pool, Matrix& residual) {
  pool.run_in_groups(residual.rows, kComponentsTogether,
                     [&](std::size_t k, std::size_t) { transform_grid(grid, residual.row(k)); });
  order.sort_runs(std::span(residual.values));
}

}  // namespace pinion::codec
