#include "pinion/codec/calibrated/calibrated_quantiser.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

// One component's indices in a band, as the choice of tables sees them.
struct ComponentSpread {
  std::span<std::int32_t> indices;
  Spread spread;
  double error = 0;             // squared, in steps, times the weights of the rows
  double silence = 0;           // squared error, in steps, that saying nothing adds
  double weighted_silence = 0;  // the same times the weights of the rows

  // Bits in a class, or what silence is worth in bits.
  double cost(IndexClass index_class, IndexTables& tables) const {
    if (index_class.scale == 0) return kBitsPerSquaredStep * silence;
    const ClassCode code = tables.get(index_class);
    if (code.shift == spread.shift) return class_cost(spread, *code.table);
    return class_cost(Spread(indices, code.shift), *code.table);
  }
};

// All components in all bands: [components, bands].
struct Spreads {
  std::size_t bands = 1;
  std::vector<ComponentSpread> parts;

  std::size_t components() const { return parts.size() / bands; }
  const ComponentSpread& at(std::size_t component, std::size_t band) const {
    return parts[component * bands + band];
  }
  double cost_of_band(std::size_t band, const ComponentParams& classes, IndexTables& tables) const {
    double bits = 0;
    for (std::size_t k = 0; k < components(); ++k) {
      bits += at(k, band).cost(classes.index_class(k, band), tables);
    }
    return bits;
  }
  double cost(const ComponentParams& classes, IndexTables& tables) const {
    double bits = 0;
    for (std::size_t band = 0; band < bands; ++band) bits += cost_of_band(band, classes, tables);
    return bits;
  }
};

// Indices of a step, as the reciprocal `per_step`; nothing if one is out of range.
std::optional<ComponentSpread> spread_of(std::span<const float> values, std::span<const double> weights,
                                         float per_step, std::span<std::int32_t> indices) {
  float largest = 0;
  double silence = 0, weighted_error = 0, weighted_silence = 0;
  for (std::size_t r = 0; r < values.size(); ++r) {
    const float value = values[r] * per_step;
    largest = std::max(largest, std::abs(value));
    const float rounded = std::round(std::clamp(value, -0x1p26f, 0x1p26f));
    indices[r] = static_cast<std::int32_t>(rounded);
    const double left = value - rounded;
    const double error = left * left, added = static_cast<double>(value) * value - error;
    silence += added;
    weighted_error += weights[r] * error;
    weighted_silence += weights[r] * added;
  }
  if (!(largest < static_cast<float>(kMaxIndex))) return std::nullopt;
  return ComponentSpread{indices, Spread(indices, 0), weighted_error, silence, weighted_silence};
}

// Nothing if an index is out of range. `indices` is [components, rows].
std::optional<Spreads> spreads_of(const Matrix& residual, const RowPlan& plan, const CalibratedParams& params,
                                  std::span<std::int32_t> indices) {
  Spreads spreads{plan.bands.count(), {}};
  for (std::size_t k = 0; k < residual.rows; ++k) {
    std::size_t begin = 0;
    for (std::size_t band = 0; band < plan.bands.count(); ++band) {
      const std::size_t size = plan.bands.ends()[band] - begin;
      std::optional<ComponentSpread> spread =
          spread_of(residual.row(k).subspan(begin, size), std::span(plan.weights).subspan(begin, size),
                    1 / params.step(band), indices.subspan(k * residual.columns + begin, size));
      if (!spread) return std::nullopt;
      spreads.parts.push_back(std::move(*spread));
      begin += size;
    }
  }
  return spreads;
}

// The calibrated scales, with the offset and shapes that suit this frame. Returns the cost.
double choose_offset_and_shapes(const Spreads& spreads, std::span<const std::uint8_t> levels,
                                CalibratedParams& params, IndexTables& tables) {
  double least = spreads.cost(component_classes(levels, params), tables);
  const auto try_params = [&](const CalibratedParams& candidate) {
    const double cost = spreads.cost(component_classes(levels, candidate), tables);
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

// The band scales that suit this frame: along each the cost has one valley.
void choose_band_scales(const Spreads& spreads, std::span<const std::uint8_t> levels,
                        CalibratedParams& params, IndexTables& tables) {
  ComponentParams classes = component_classes(levels, params);
  for (std::size_t band = 1; band < spreads.bands; ++band) {
    std::int8_t& scale = classes.band_scales[band];
    double least = spreads.cost_of_band(band, classes, tables);
    for (const int direction : {-1, 1}) {
      while (std::abs(scale + direction) <= kMaxBandScale) {
        scale = static_cast<std::int8_t>(scale + direction);
        const double cost = spreads.cost_of_band(band, classes, tables);
        if (cost < least) {
          least = cost;
          continue;
        }
        scale = static_cast<std::int8_t>(scale - direction);
        break;
      }
    }
  }
  params.bands.scales = std::move(classes.band_scales);
}

// Each component's best scale near `from`, priced with the bits that it takes to write. Returns the cost.
double choose_scales(const Spreads& spreads, const ComponentParams& from, ComponentParams& classes,
                     IndexTables& tables) {
  classes = from;
  double sum = 0;
  for (std::size_t k = 0; k < spreads.components(); ++k) {
    const int expected = from.scales[k];
    const auto price = [&](int scale) {
      classes.scales[k] = static_cast<std::uint8_t>(scale);
      double bits = 1 + kBitsPerScaleStep * std::abs(scale - expected);
      for (std::size_t band = 0; band < spreads.bands; ++band) {
        bits += spreads.at(k, band).cost(classes.index_class(k, band), tables);
      }
      return bits;
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

double step_of(int step_log2) { return std::exp2(static_cast<double>(step_log2) / kStepsPerOctave); }

// What a coarser step alone makes of the scales.
CalibratedBands bands_at_first(const RowPlan& plan) {
  CalibratedBands bands{plan.bands.count(), plan.bands.count() > 1 ? plan.step_growth : 0, {0}};
  for (int band = 1; band < static_cast<int>(bands.count); ++band) {
    const int octaves = kScalesPerOctave * band * bands.step_growth / kStepsPerOctave;
    bands.scales.push_back(static_cast<std::int8_t>(-std::min(octaves, kMaxBandScale)));
  }
  return bands;
}

}  // namespace

StepPlanner::StepPlanner(const Matrix& residual, std::span<const float> gain, const RowPlan& plan) {
  std::size_t begin = 0;
  for (std::size_t band = 0; band < plan.bands.count(); ++band) {
    const std::size_t size = plan.bands.ends()[band] - begin;
    const auto weights = std::span(plan.weights).subspan(begin, size);
    const double weight = std::accumulate(weights.begin(), weights.end(), 0.0);
    for (std::size_t k = 0; k < residual.rows && size > 0; ++k) {
      const double square = energy(residual.row(k).subspan(begin, size)) / static_cast<double>(size);
      parts_.push_back({std::sqrt(square), static_cast<double>(size), weight * gain[k],
                        static_cast<int>(band) * plan.step_growth});
    }
    begin += size;
  }
}

double StepPlanner::error(int step_log2) const {
  double sum = 0;
  for (const Part& part : parts_) {
    const double step = step_of(step_log2 + part.step_offset);
    sum += part.cost * laplace_error(part.deviation / step) * step * step;
  }
  return sum;
}

double StepPlanner::bits(int step_log2) const {
  double sum = 0;
  for (const Part& part : parts_) {
    sum += part.rows * laplace_bits(part.deviation / step_of(step_log2 + part.step_offset));
  }
  return sum;
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
  double widest = 0;
  for (const Part& part : parts_) widest = std::max(widest, part.deviation / step_of(part.step_offset));
  if (widest == 0) return 0;
  const double step_log2 = kStepsPerOctave * (std::log2(widest) + kSilentOctaves);
  return static_cast<int>(
      std::clamp(step_log2, static_cast<double>(kMinStepLog2), static_cast<double>(kMaxStepLog2)));
}

std::optional<QuantisedComponents> quantise_components(const Matrix& residual, const RecordAt& record,
                                                       const RowPlan& plan, const CalibratedParams& params,
                                                       IndexTables& tables) {
  QuantisedComponents result;
  result.params = params;
  result.params.shapes = kUsualShapes;
  result.params.scale_offset = 0;
  result.params.bands = bands_at_first(plan);
  result.indices.resize(residual.values.size());
  std::optional<Spreads> spreads = spreads_of(residual, plan, result.params, result.indices);
  if (!spreads) return std::nullopt;

  choose_band_scales(*spreads, record.levels, result.params, tables);
  double least = choose_offset_and_shapes(*spreads, record.levels, result.params, tables);
  result.classes = component_classes(record.levels, result.params);
  // Shapes that suit wrong scales need not suit the right ones.
  const CalibratedParams calibrated = result.params;
  std::vector<Shapes> candidates = {calibrated.shapes};
  for (std::uint8_t wide = 0; wide < kShapes; ++wide) candidates.push_back({kUsualShapes.rare, wide});
  for (const Shapes shapes : candidates) {
    CalibratedParams candidate = calibrated;
    candidate.shapes = shapes;
    ComponentParams own;
    const double cost = choose_scales(*spreads, component_classes(record.levels, candidate), own, tables);
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
  for (std::size_t k = 0; k < spreads->components(); ++k) {
    for (std::size_t band = 0; band < spreads->bands; ++band) {
      const ComponentSpread& part = spreads->at(k, band);
      double error = part.error;
      const IndexClass index_class = result.classes.index_class(k, band);
      if (index_class.scale == 0) {
        std::fill(part.indices.begin(), part.indices.end(), 0);
        error += part.weighted_silence;
      } else {
        result.bits += part.cost(index_class, tables);
      }
      const double step = result.params.step(band);
      result.error += record.gain[k] * error * step * step;
    }
  }
  return result;
}

}  // namespace pinion::codec
