#include "pinion/codec/calibrated_quantiser.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/class_choice.h"
#include "pinion/codec/index_coding.h"
#include "pinion/codec/laplace_model.h"

namespace pinion::codec {
namespace {

constexpr int kMaxOffsetTried = 12;  // quarters of an octave by which a frame may differ from its calibration
// At a fine step s, one bit more takes an error of s^2/12 to a quarter: what a bit is worth in error.
constexpr double kBitsPerSquaredStep = 8.66;
constexpr Shapes kUsualShapes = {.rare = 1, .wide = 2};

double deviation_of(std::uint8_t level, int step_log2) {
  return std::exp2(static_cast<double>(level - kLevelZero) / kLevelsPerOctave -
                   static_cast<double>(step_log2) / kStepsPerOctave);
}

// One component's indices as the choice of tables sees them.
struct ComponentSpread {
  Spread spread;
  std::span<const std::int32_t> indices;
  double silence = 0;  // squared error, in steps, that saying nothing adds
};

// The cost of all components in one choice of tables, bits and what silence is worth in bits.
double cost_of(std::span<const ComponentSpread> components, const ComponentParams& classes,
               IndexTables& tables) {
  double bits = 0;
  for (std::size_t k = 0; k < components.size(); ++k) {
    const IndexClass index_class = classes.index_class(k, 0);
    if (index_class.scale == 0) {
      bits += kBitsPerSquaredStep * components[k].silence;
      continue;
    }
    const ClassCode code = tables.get(index_class);
    bits += code.shift == components[k].spread.shift
                ? class_cost(components[k].spread, *code.table)
                : class_cost(Spread(components[k].indices, code.shift), *code.table);
  }
  return bits;
}

}  // namespace

double StepPlanner::error(int step_log2) const {
  const double step = std::exp2(static_cast<double>(step_log2) / kStepsPerOctave);
  double sum = 0;
  for (std::size_t k = 0; k < record_.levels.size(); ++k) {
    sum += record_.gain[k] * laplace_error(deviation_of(record_.levels[k], step_log2));
  }
  return sum * step * step * static_cast<double>(rows_);
}

double StepPlanner::bits(int step_log2) const {
  double sum = 0;
  for (const std::uint8_t level : record_.levels) sum += laplace_bits(deviation_of(level, step_log2));
  return sum * static_cast<double>(rows_);
}

int StepPlanner::step_for_error(double error_energy) const {
  int low = kMinStepLog2, high = kMaxStepLog2;
  while (low < high) {
    const int middle = low + (high - low + 1) / 2;
    if (error(middle) <= error_energy) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return std::min(low, coarsest());
}

int StepPlanner::step_for_bits(double index_bits) const {
  int low = kMinStepLog2, high = kMaxStepLog2;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (bits(middle) <= index_bits) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return std::min(low, coarsest());
}

int StepPlanner::coarsest() const {
  constexpr int kSilentOctaves = 5;
  const int widest = *std::max_element(record_.levels.begin(), record_.levels.end()) - kLevelZero;
  return std::clamp(widest * (kStepsPerOctave / kLevelsPerOctave) + kSilentOctaves * kStepsPerOctave,
                    kMinStepLog2, kMaxStepLog2);
}

std::optional<QuantisedComponents> quantise_components(const Matrix& residual, const RecordAt& record,
                                                       const CalibratedParams& params, IndexTables& tables) {
  const std::size_t rows = residual.columns;
  const float step = params.step(), per_step = 1 / step;
  QuantisedComponents result;
  result.params = params;
  result.params.shapes = kUsualShapes;
  result.params.scale_offset = 0;
  result.indices.resize(residual.values.size());
  std::vector<ComponentSpread> components;
  std::vector<double> errors;  // squared, in steps
  for (std::size_t k = 0; k < residual.rows; ++k) {
    const auto values = residual.row(k);
    const auto indices = std::span(result.indices).subspan(k * rows, rows);
    float largest = 0;
    double error = 0, energy = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      const float value = values[r] * per_step;
      largest = std::max(largest, std::abs(value));
      const float rounded = std::round(std::clamp(value, -0x1p26f, 0x1p26f));
      indices[r] = static_cast<std::int32_t>(rounded);
      const double left = value - rounded;
      error += left * left;
      energy += static_cast<double>(value) * value;
    }
    if (!(largest < static_cast<float>(kMaxIndex))) return std::nullopt;
    errors.push_back(error);
    components.push_back({Spread(indices, 0), indices, energy - error});
  }

  ComponentParams classes = component_classes(record.levels, result.params);
  double least = cost_of(components, classes, tables);
  const auto try_params = [&](const CalibratedParams& candidate) {
    ComponentParams its_classes = component_classes(record.levels, candidate);
    const double cost = cost_of(components, its_classes, tables);
    if (!(cost < least)) return false;
    least = cost;
    result.params = candidate;
    classes = std::move(its_classes);
    return true;
  };
  // Along the offsets the cost has one valley.
  for (const int direction : {-1, 1}) {
    CalibratedParams candidate = result.params;
    do {
      candidate.scale_offset = static_cast<std::int8_t>(candidate.scale_offset + direction);
    } while (std::abs(candidate.scale_offset) <= kMaxOffsetTried && try_params(candidate));
  }
  for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
    CalibratedParams candidate = result.params;
    candidate.shapes.wide = shape;
    try_params(candidate);
  }
  for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
    CalibratedParams candidate = result.params;
    candidate.shapes.rare = shape;
    try_params(candidate);
  }

  result.bits = least;
  const double squared_step = static_cast<double>(step) * step;
  for (std::size_t k = 0; k < components.size(); ++k) {
    double error = errors[k];
    if (classes.scales[k] == 0) {
      const auto indices = std::span(result.indices).subspan(k * rows, rows);
      std::fill(indices.begin(), indices.end(), 0);
      result.bits -= kBitsPerSquaredStep * components[k].silence;
      error += components[k].silence;
    }
    result.error += record.gain[k] * error * squared_step;
  }
  return result;
}

}  // namespace pinion::codec
