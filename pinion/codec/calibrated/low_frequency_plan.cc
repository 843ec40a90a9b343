#include "pinion/codec/calibrated/low_frequency_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "pinion/codec/calibrated/low_frequencies.h"
#include "pinion/codec/indices/laplace_model.h"

namespace pinion::codec {
namespace {

// Of the bits of rows alone, what may be left for low frequencies to be tried and to be used. What is
// expected of them is too good by a few per cent to a tenth.
constexpr double kExpectedToPay = 0.95, kPays = 0.99;
// Low frequencies need not be as exact as rows: the rows say what is missing, where it is heard.
constexpr int kCoarserStep = 3 * kStepsPerOctave / 4;

// What bits and errors are at one step, errors in bits by what they would cost to mend.
class Price {
 public:
  Price(const StepPlanner& planner, int step_log2)
      : step_log2_(step_log2), plain_error_(planner.error(step_log2)), plain_bits_(planner.bits(step_log2)) {
    constexpr int kNear = 8;
    const double more = planner.error(step_log2 + kNear) - plain_error_;
    if (more > 0) bits_per_error_ = (plain_bits_ - planner.bits(step_log2 + kNear)) / more;
  }

  double plain() const { return plain_bits_; }
  double of(const StepPlanner& planner) const {
    return planner.bits(step_log2_) + bits_per_error_ * (planner.error(step_log2_) - plain_error_);
  }

 private:
  int step_log2_;
  double plain_error_, plain_bits_;
  double bits_per_error_ = 0;
};

// Rows are as loud as the mean where the loudest one's step is so much finer.
int step_of_mean_row(const RowPlan& plan, int step_log2) {
  if (plan.weights.empty()) return step_log2;
  const float loudest = *std::max_element(plan.weights.begin(), plan.weights.end());
  return step_log2 + static_cast<int>(std::lround(kStepsPerOctave * std::log2(loudest) / 2));
}

// How many classes are expected to need the fewest bits, 0 if none saves any, at a step of 2^(step_log2 /
// kStepsPerOctave) for the coefficients.
std::size_t cheapest_classes(const Matrix& coefficients, const RowBands& order, int step_log2,
                             const StepPlanner& planner, const Price& price) {
  const double step = std::exp2(static_cast<double>(step_log2) / kStepsPerOctave);
  std::vector<double> all(coefficients.rows), saved(coefficients.rows), left(coefficients.rows);
  for (std::size_t k = 0; k < coefficients.rows; ++k) all[k] = energy(coefficients.row(k));
  double bits = 0, least = kExpectedToPay * price.plain();
  std::size_t cheapest = 0, begin = 0;
  for (std::size_t classes = 1; classes < kFrequencyClasses; ++classes) {
    const std::size_t end = order.ends()[classes - 1];
    const auto size = static_cast<double>(end - begin);
    for (std::size_t k = 0; k < coefficients.rows && size > 0; ++k) {
      const double square = energy(coefficients.row(k).subspan(begin, end - begin));
      const double deviation = std::sqrt(square / size) / step;
      bits += size * laplace_bits(deviation);
      saved[k] += square - size * laplace_error(deviation) * step * step;
    }
    for (std::size_t k = 0; k < all.size(); ++k) left[k] = all[k] > 0 ? 1 - saved[k] / all[k] : 1;
    const double cost = bits + price.of(planner.with_energies(left));
    if (cost < least) least = cost, cheapest = classes;
    begin = end;
  }
  return cheapest;
}

// Some of the low frequencies, coded, and what they leave of the residual.
struct Attempt {
  QuantisedComponents coded;
  Matrix left;  // [components, rows] in row order
};

// Nothing if an index of theirs is out of range.
std::optional<Attempt> take_out(const Matrix& residual, const Matrix& coefficients, std::size_t classes,
                                const TokenGrid& grid, const CalibratedParams& params, const RecordAt& record,
                                IndexTables& tables, ChunkPool& pool) {
  const RowPlan plan{.layout = RowLayout::kCoefficients,
                     .bands = low_bands(grid, residual.columns, classes),
                     .step_growth = 0,
                     .weights = {},
                     .weight_sum = 0,
                     .grid = grid};
  Matrix low(residual.rows, plan.bands.rows());
  for (std::size_t k = 0; k < low.rows; ++k)
    std::copy_n(coefficients.row(k).begin(), low.columns, low.row(k).begin());
  std::optional<Attempt> attempt(std::in_place);
  if (!quantise_components(low, record, plan, params, tables, pool, attempt->coded)) return std::nullopt;
  Matrix added(residual.rows, residual.columns);
  add_low_frequencies(attempt->coded.params, attempt->coded.indices, pool, added);
  attempt->left = residual;
  for (std::size_t i = 0; i < added.values.size(); ++i) attempt->left.values[i] -= added.values[i];
  return attempt;
}

}  // namespace

double low_frequency_bits(const QuantisedComponents& coded) {
  constexpr double kBytesBesides = 24;  // fields, and the states of chunks
  return coded.bits + coded.scale_bits + 8 * kBytesBesides;
}

std::optional<QuantisedComponents> take_out_low_frequencies(Matrix& residual, const TokenGrid& grid,
                                                            const RowPlan& plan, const StepPlanner& planner,
                                                            int step_log2, const RecordAt& record,
                                                            IndexTables& tables, ChunkPool& pool) {
  const Price price(planner, step_log2);
  const RowBands order = frequency_bands(grid, residual.columns);
  Matrix coefficients = residual;
  transform_rows(grid, order, pool, coefficients);
  CalibratedParams params;
  params.step_log2 = static_cast<std::int16_t>(
      std::clamp(step_of_mean_row(plan, step_log2) + kCoarserStep, kMinStepLog2, kMaxStepLog2));
  const std::size_t expected = cheapest_classes(coefficients, order, params.step_log2, planner, price);
  if (expected == 0) return std::nullopt;

  std::optional<Attempt> best;
  double least = kPays * price.plain();
  const auto is_cheaper = [&](std::size_t classes) {
    if (classes == 0 || classes == kFrequencyClasses) return false;
    std::optional<Attempt> attempt =
        take_out(residual, coefficients, classes, grid, params, record, tables, pool);
    // What errors are worth is said for small changes only; low frequencies for more than all bits never pay.
    if (!attempt || low_frequency_bits(attempt->coded) > price.plain()) return false;
    Matrix left = attempt->left;
    plan.bands.sort_runs(std::span(left.values));
    const double cost = low_frequency_bits(attempt->coded) + price.of(StepPlanner(left, record.gain, plan));
    if (!(cost < least)) return false;
    least = cost;
    best = std::move(attempt);
    return true;
  };
  // Along the classes the cost has one valley.
  is_cheaper(expected);
  std::size_t classes = expected;
  while (is_cheaper(classes - 1)) --classes;
  if (classes == expected) {
    while (is_cheaper(classes + 1)) ++classes;
  }
  if (!best) return std::nullopt;
  residual = std::move(best->left);
  return std::move(best->coded);
}

}  // namespace pinion::codec
