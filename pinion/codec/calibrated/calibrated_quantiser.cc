#include "pinion/codec/calibrated/calibrated_quantiser.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/indices/class_choice.h"
#include "pinion/codec/indices/index_coding.h"
#include "pinion/codec/indices/laplace_model.h"

namespace pinion::codec {
namespace {

constexpr int kMaxOffsetTried = 12;  // quarters of an octave by which a frame may differ from its calibration
// What a squared error of one step is worth in bits when a component falls silent. By rate and distortion of
// one frame it would be 8.66; but what is left out pulls every value toward its prediction, frame after
// frame, as a dead zone does. At this price a component falls silent only if hardly an index of it is not 0.
constexpr double kBitsPerSquaredStep = 60;
constexpr double kBitsPerScaleStep = 1.5;  // of a written scale, for moving away from the calibrated one
constexpr int kPatience = 3;               // scales that may be worse before a search ends
constexpr Shapes kUsualShapes = {.rare = 1, .wide = 2};

// One component's indices as the choice of tables sees them.
struct ComponentSpread {
  std::span<const std::int32_t> indices;
  Spread spread;
  double error = 0;    // squared, in steps
  double silence = 0;  // squared error, in steps, that saying nothing adds

  // Bits in a class, or what silence is worth in bits.
  double cost(IndexClass index_class, IndexTables& tables) const {
    if (index_class.scale == 0) return kBitsPerSquaredStep * silence;
    const ClassCode code = tables.get(index_class);
    if (code.shift == spread.shift) return class_cost(spread, *code.table);
    return class_cost(Spread(indices, code.shift), *code.table);
  }
};

double cost_of(std::span<const ComponentSpread> components, const ComponentParams& classes,
               IndexTables& tables) {
  double bits = 0;
  for (std::size_t k = 0; k < components.size(); ++k) {
    bits += components[k].cost(classes.index_class(k, 0), tables);
  }
  return bits;
}

// Indices of a step, as the reciprocal `per_step`; nothing if one is out of range.
std::optional<ComponentSpread> spread_of(std::span<const float> values, float per_step,
                                         std::span<std::int32_t> indices) {
  float largest = 0;
  double error = 0, energy = 0;
  for (std::size_t r = 0; r < values.size(); ++r) {
    const float value = values[r] * per_step;
    largest = std::max(largest, std::abs(value));
    const float rounded = std::round(std::clamp(value, -0x1p26f, 0x1p26f));
    indices[r] = static_cast<std::int32_t>(rounded);
    const double left = value - rounded;
    error += left * left;
    energy += static_cast<double>(value) * value;
  }
  if (!(largest < static_cast<float>(kMaxIndex))) return std::nullopt;
  return ComponentSpread{indices, Spread(indices, 0), error, energy - error};
}

// The calibrated scales, with the offset and shapes that suit this frame. Returns the cost.
double choose_offset_and_shapes(std::span<const ComponentSpread> components,
                                std::span<const std::uint8_t> levels, CalibratedParams& params,
                                IndexTables& tables) {
  double least = cost_of(components, component_classes(levels, params), tables);
  const auto try_params = [&](const CalibratedParams& candidate) {
    const double cost = cost_of(components, component_classes(levels, candidate), tables);
    if (!(cost < least)) return false;
    least = cost;
    params = candidate;
    return true;
  };
  // Along the offsets the cost has one valley.
  for (const int direction : {-1, 1}) {
    CalibratedParams candidate = params;
    do {
      candidate.scale_offset = static_cast<std::int8_t>(candidate.scale_offset + direction);
    } while (std::abs(candidate.scale_offset) <= kMaxOffsetTried && try_params(candidate));
  }
  for (const auto part : {&Shapes::wide, &Shapes::rare}) {
    for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
      CalibratedParams candidate = params;
      candidate.shapes.*part = shape;
      try_params(candidate);
    }
  }
  return least;
}

// Each component's best scale near `from`, priced with the bits that it takes to write. Returns the cost.
double choose_scales(std::span<const ComponentSpread> components, const ComponentParams& from,
                     ComponentParams& classes, IndexTables& tables) {
  classes = from;
  double sum = 0;
  for (std::size_t k = 0; k < components.size(); ++k) {
    const int expected = from.scales[k];
    const auto price = [&](int scale) {
      const IndexClass index_class = scale == 0 ? IndexClass{} : from.shapes.at(scale);
      return components[k].cost(index_class, tables) + 1 + kBitsPerScaleStep * std::abs(scale - expected);
    };
    int best = expected;
    double least = price(expected);
    if (const double silent = price(0); silent < least) best = 0, least = silent;
    // Along the scales the cost has about one valley.
    for (const int direction : {-1, 1}) {
      int worse = 0;
      for (int scale = expected + direction;
           scale >= 1 && scale <= max_scale(from.shapes.wide) && worse < kPatience; scale += direction) {
        const double cost = price(scale);
        worse = cost < least ? 0 : worse + 1;
        if (cost < least) least = cost, best = scale;
      }
    }
    classes.scales[k] = static_cast<std::uint8_t>(best);
    sum += least;
  }
  return sum;
}

}  // namespace

StepPlanner::StepPlanner(const Matrix& residual, std::span<const float> gain)
    : gain_(gain), rows_(static_cast<double>(residual.columns)) {
  for (std::size_t k = 0; k < residual.rows; ++k) {
    deviations_.push_back(std::sqrt(energy(residual.row(k)) / rows_));
  }
}

double StepPlanner::error(int step_log2) const {
  const double step = std::exp2(static_cast<double>(step_log2) / kStepsPerOctave);
  double sum = 0;
  for (std::size_t k = 0; k < deviations_.size(); ++k) {
    sum += gain_[k] * laplace_error(deviations_[k] / step);
  }
  return sum * step * step * rows_;
}

double StepPlanner::bits(int step_log2) const {
  const double step = std::exp2(static_cast<double>(step_log2) / kStepsPerOctave);
  double sum = 0;
  for (const double deviation : deviations_) sum += laplace_bits(deviation / step);
  return sum * rows_;
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
  constexpr double kSilentOctaves = 4;
  const double widest = *std::max_element(deviations_.begin(), deviations_.end());
  if (widest == 0) return 0;
  const double step_log2 = kStepsPerOctave * (std::log2(widest) + kSilentOctaves);
  return static_cast<int>(
      std::clamp(step_log2, static_cast<double>(kMinStepLog2), static_cast<double>(kMaxStepLog2)));
}

std::optional<QuantisedComponents> quantise_components(const Matrix& residual, const RecordAt& record,
                                                       const CalibratedParams& params, IndexTables& tables) {
  const std::size_t rows = residual.columns;
  const float step = params.step();
  QuantisedComponents result;
  result.params = params;
  result.params.shapes = kUsualShapes;
  result.params.scale_offset = 0;
  result.indices.resize(residual.values.size());
  std::vector<ComponentSpread> components;
  for (std::size_t k = 0; k < residual.rows; ++k) {
    const auto indices = std::span(result.indices).subspan(k * rows, rows);
    std::optional<ComponentSpread> spread = spread_of(residual.row(k), 1 / step, indices);
    if (!spread) return std::nullopt;
    components.push_back(std::move(*spread));
  }

  double least = choose_offset_and_shapes(components, record.levels, result.params, tables);
  result.classes = component_classes(record.levels, result.params);
  // Shapes that suit wrong scales need not suit the right ones.
  const CalibratedParams calibrated = result.params;
  std::vector<Shapes> candidates = {calibrated.shapes};
  for (std::uint8_t wide = 0; wide < kShapes; ++wide) candidates.push_back({kUsualShapes.rare, wide});
  for (const Shapes shapes : candidates) {
    CalibratedParams candidate = calibrated;
    candidate.shapes = shapes;
    ComponentParams own;
    const double cost = choose_scales(components, component_classes(record.levels, candidate), own, tables);
    if (!(cost < least)) continue;
    least = cost;
    result.params = candidate;
    result.params.has_scales = true;
    result.classes = std::move(own);
  }
  if (result.params.has_scales) {
    ByteWriter scales;
    write_scales(scales, record.levels, result.params, result.classes);
    result.scale_bits = 8.0 * static_cast<double>(scales.size());
  }
  for (std::size_t k = 0; k < components.size(); ++k) {
    const ComponentSpread& component = components[k];
    double error = component.error;
    const IndexClass index_class = result.classes.index_class(k, 0);
    if (index_class.scale == 0) {
      const auto indices = std::span(result.indices).subspan(k * rows, rows);
      std::fill(indices.begin(), indices.end(), 0);
      error += component.silence;
    } else {
      result.bits += component.cost(index_class, tables);
    }
    result.error += record.gain[k] * error * step * step;
  }
  return result;
}

}  // namespace pinion::codec
