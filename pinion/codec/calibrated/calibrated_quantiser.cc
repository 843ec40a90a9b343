#include "pinion/codec/calibrated/calibrated_quantiser.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pinion/codec/indices/index_coding.h"
#include "pinion/codec/indices/laplace_model.h"
#include "pinion/codec/indices/run_prices.h"
#include "pinion/codec/math/vector_loops.h"

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

// All components in all bands, as the choice of tables sees them.
class Spreads {
 public:
  // `indices` is [components, rows]; sums, of values in steps, [components, bands].
  Spreads(std::span<const std::int32_t> indices, const RowBands& bands, std::vector<WeighedSums> sums,
          IndexTables& tables, ChunkPool& pool)
      : sums_(std::move(sums)),
        runs_(indices, bands.rows(), band_of_place(bands), bands.count(), pool),
        tables_(tables) {}

  std::size_t components() const { return runs_.components(); }
  std::size_t bands() const { return runs_.bands(); }
  const WeighedSums& sums(std::size_t component, std::size_t band) const {
    return sums_[component * bands() + band];
  }

  // Bits in a class, or what silence is worth in bits.
  double cost(std::size_t component, std::size_t band, IndexClass index_class) {
    if (index_class.scale == 0) {
      const WeighedSums& part = sums(component, band);
      return kBitsPerSquaredStep * static_cast<double>(part.square - part.error);
    }
    return static_cast<double>(runs_.band_bits(component, band, index_class, tables_));
  }
  double cost_of_band(std::size_t band, const ComponentParams& classes) {
    double bits = 0;
    for (std::size_t k = 0; k < components(); ++k) bits += cost(k, band, classes.index_class(k, band));
    return bits;
  }
  double ideal_bits(const ComponentParams& classes) const {
    IndexHistograms histograms;
    runs_.count_in(classes, histograms);
    return histograms.bits();
  }
  double cost(const ComponentParams& classes) {
    double bits = 0;
    for (std::size_t band = 0; band < bands(); ++band) bits += cost_of_band(band, classes);
    return bits;
  }

 private:
  static std::vector<std::uint8_t> band_of_place(const RowBands& bands) {
    std::vector<std::uint8_t> band_of;
    for (std::size_t band = 0; band < bands.count() && bands.count() > 1; ++band) {
      band_of.resize(bands.ends()[band], static_cast<std::uint8_t>(band));
    }
    return band_of;
  }

  std::vector<WeighedSums> sums_;
  RunPrices runs_;
  IndexTables& tables_;
};

// Nothing if an index is out of range. `indices` is [components, rows].
std::optional<Spreads> spreads_of(const Matrix& residual, const RowPlan& plan, const CalibratedParams& params,
                                  std::span<std::int32_t> indices, IndexTables& tables, ChunkPool& pool) {
  const std::size_t bands = plan.bands.count(), rows = residual.columns;
  std::vector<WeighedSums> sums(residual.rows * bands);
  pool.run_in_groups(residual.rows, kComponentsTogether, [&](std::size_t k, std::size_t) {
    std::size_t begin = 0;
    for (std::size_t band = 0; band < bands; ++band) {
      const std::size_t end = plan.bands.ends()[band];
      sums[k * bands + band] = vector_loops().quantise(
          residual.row(k).data() + begin, plan.weights.empty() ? nullptr : plan.weights.data() + begin,
          1 / params.step(band), end - begin, indices.data() + k * rows + begin);
      begin = end;
    }
  });
  for (const WeighedSums& part : sums) {
    if (!(part.largest < static_cast<float>(kMaxIndex))) return std::nullopt;
  }
  return std::optional<Spreads>(std::in_place, indices, plan.bands, std::move(sums), tables, pool);
}

// The calibrated scales, with the offset and shapes that suit this frame. Returns the cost.
double choose_offset_and_shapes(Spreads& spreads, std::span<const std::uint8_t> levels,
                                CalibratedParams& params) {
  double least = spreads.cost(component_classes(levels, params));
  const auto try_params = [&](const CalibratedParams& candidate) {
    const double cost = spreads.cost(component_classes(levels, candidate));
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

// The offset that suits the first band, whose scale is 0, and the scales of the others: along each the cost
// has one valley.
void choose_band_scales(Spreads& spreads, std::span<const std::uint8_t> levels, CalibratedParams& params) {
  double least_of_first = spreads.cost_of_band(0, component_classes(levels, params));
  for (const int direction : {-1, 1}) {
    for (CalibratedParams candidate = params;
         std::abs(candidate.scale_offset + direction) <= kMaxOffsetTried;) {
      candidate.scale_offset = static_cast<std::int8_t>(candidate.scale_offset + direction);
      const double cost = spreads.cost_of_band(0, component_classes(levels, candidate));
      if (!(cost < least_of_first)) break;
      least_of_first = cost;
      params.scale_offset = candidate.scale_offset;
    }
  }
  ComponentParams classes = component_classes(levels, params);
  for (std::size_t band = 1; band < spreads.bands(); ++band) {
    std::int8_t& scale = classes.band_scales[band];
    double least = spreads.cost_of_band(band, classes);
    for (const int direction : {-1, 1}) {
      while (std::abs(scale + direction) <= kMaxBandScale) {
        scale = static_cast<std::int8_t>(scale + direction);
        const double cost = spreads.cost_of_band(band, classes);
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

struct ScaleOf {
  std::uint8_t scale = 0;
  double bits = 0;
};

// A component's best scale near `expected`, priced with the bits that it takes to write.
ScaleOf choose_scale(Spreads& spreads, std::size_t component, const ComponentParams& classes, int expected) {
  const auto price = [&](int scale) {
    double bits = 1 + kBitsPerScaleStep * std::abs(scale - expected);
    for (std::size_t band = 0; band < spreads.bands(); ++band) {
      bits += spreads.cost(component, band, classes.class_at(scale, band));
    }
    return bits;
  };
  int best = expected;
  double least = price(expected);
  if (const double silent = price(0); silent < least) best = 0, least = silent;
  // Along the scales the cost has about one valley.
  const int most = max_scale(classes.shapes.wide);
  for (const int direction : {-1, 1}) {
    int worse = 0;
    for (int scale = expected + direction; scale >= 1 && scale <= most && worse < kPatience;
         scale += direction) {
      const double cost = price(scale);
      worse = cost < least ? 0 : worse + 1;
      if (cost < least) least = cost, best = scale;
    }
  }
  return {static_cast<std::uint8_t>(best), least};
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

double allowed_component_error(double output_snr_db, double signal, double floor) {
  constexpr double kLeastShareOfFloor = 0.1;
  const double allowed = signal * std::pow(10, -output_snr_db / 10);
  return std::max(allowed - floor, kLeastShareOfFloor * std::min(allowed, floor));
}

StepPlanner::StepPlanner(const Matrix& residual, std::span<const float> gain, const RowPlan& plan) {
  std::size_t begin = 0;
  for (std::size_t band = 0; band < plan.bands.count(); ++band) {
    const std::size_t size = plan.bands.ends()[band] - begin;
    const auto first = plan.weights.begin() + static_cast<std::ptrdiff_t>(plan.weights.empty() ? 0 : begin);
    const double weight = plan.weights.empty()
                              ? static_cast<double>(size)
                              : std::accumulate(first, first + static_cast<std::ptrdiff_t>(size), 0.0);
    for (std::size_t k = 0; k < residual.rows && size > 0; ++k) {
      const double square = energy(residual.row(k).subspan(begin, size)) / static_cast<double>(size);
      parts_.push_back({k, std::sqrt(square), static_cast<double>(size), weight * gain[k],
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

StepPlanner StepPlanner::with_energies(std::span<const double> times) const {
  StepPlanner changed = *this;
  for (Part& part : changed.parts_) part.deviation *= std::sqrt(std::max(0.0, times[part.component]));
  return changed;
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

bool quantise_components(const Matrix& residual, const RecordAt& record, const RowPlan& plan,
                         const CalibratedParams& params, IndexTables& tables, ChunkPool& pool,
                         QuantisedComponents& result) {
  result.params = params;
  result.params.shapes = kUsualShapes;
  result.params.scale_offset = 0;
  result.params.has_scales = false;
  result.params.layout = plan.layout;
  result.params.grid = plan.grid;
  result.params.bands = bands_at_first(plan);
  result.indices.resize(residual.values.size());
  result.error = result.bits = result.scale_bits = 0;
  std::optional<Spreads> spreads = spreads_of(residual, plan, result.params, result.indices, tables, pool);
  if (!spreads) return false;

  if (plan.bands.count() > 1) choose_band_scales(*spreads, record.levels, result.params);
  double least = choose_offset_and_shapes(*spreads, record.levels, result.params);
  result.classes = component_classes(record.levels, result.params);
  // Shapes that suit wrong scales need not suit the right ones.
  const CalibratedParams calibrated = result.params;
  std::vector<Shapes> shapes = {calibrated.shapes};
  for (std::uint8_t wide = 0; wide < kShapes; ++wide) shapes.push_back({kUsualShapes.rare, wide});
  std::vector<ComponentParams> candidates;
  for (const Shapes& candidate : shapes) {
    CalibratedParams with = calibrated;
    with.shapes = candidate;
    candidates.push_back(component_classes(record.levels, with));
  }
  std::vector<ScaleOf> chosen(residual.rows * candidates.size());
  pool.run_in_groups(residual.rows, kComponentsTogether, [&](std::size_t k, std::size_t) {
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      chosen[k * candidates.size() + i] = choose_scale(*spreads, k, candidates[i], candidates[i].scales[k]);
    }
  });
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    double cost = 0;
    for (std::size_t k = 0; k < residual.rows; ++k) cost += chosen[k * candidates.size() + i].bits;
    if (!(cost < least)) continue;
    least = cost;
    result.params = calibrated;
    result.params.shapes = shapes[i];
    result.params.has_scales = true;
    result.classes = candidates[i];
    for (std::size_t k = 0; k < residual.rows; ++k) {
      result.classes.scales[k] = chosen[k * candidates.size() + i].scale;
    }
  }
  if (result.params.has_scales) {
    ByteWriter scales;
    write_scales(scales, record.levels, result.params, result.classes);
    result.scale_bits = 8.0 * static_cast<double>(scales.size());
  }
  for (std::size_t k = 0; k < spreads->components(); ++k) {
    std::size_t begin = 0;
    for (std::size_t band = 0; band < spreads->bands(); ++band) {
      const std::size_t end = plan.bands.ends()[band];
      const WeighedSums& part = spreads->sums(k, band);
      const IndexClass index_class = result.classes.index_class(k, band);
      if (index_class.scale == 0) {
        const auto row = std::span(result.indices).subspan(k * residual.columns, residual.columns);
        std::fill(row.begin() + static_cast<std::ptrdiff_t>(begin),
                  row.begin() + static_cast<std::ptrdiff_t>(end), 0);
      } else {
        result.bits += spreads->cost(k, band, index_class);
      }
      const double step = result.params.step(band);
      const auto error =
          static_cast<double>(index_class.scale == 0 ? part.weighed_square : part.weighed_error);
      result.error += static_cast<double>(record.gain[k]) * error * step * step;
      begin = end;
    }
  }
  result.ideal_bits = spreads->ideal_bits(result.classes);
  return true;
}

}  // namespace pinion::codec
