#include "pinion/codec/class_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include "pinion/codec/index_coding.h"

namespace pinion::codec {
namespace {

constexpr double kEscapeHeadBits = 6;
constexpr double kBitsPerScaleStep = 1.5;  // of the parameters, for moving away from the scale expected there
constexpr double kWidestMean = 8;          // mean magnitude that the widest base tables suit

double mean_magnitude(std::span<const std::int32_t> values) {
  double sum = 0;
  for (const std::int32_t value : values) sum += std::abs(value);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

constexpr double kImpossible = 1e12;  // bits of values where the class is "all zero"

// One run, ready to be priced in any class; keeps the spread of the last shift
// it was asked for.
class Run {
 public:
  explicit Run(std::span<const std::int32_t> values) : values_(values), mean_(mean_magnitude(values)) {}

  double mean() const { return mean_; }
  std::size_t size() const { return values_.size(); }

  double bits(IndexClass index_class, IndexTables& tables) {
    if (values_.empty()) return 0;
    if (index_class.scale == 0) return mean_ > 0 ? kImpossible : 0;
    const int shift = split_class(index_class).shift;
    if (!spread_ || spread_->shift != shift) spread_.emplace(values_, shift);
    return class_cost(*spread_, *tables.get(index_class).table);
  }

 private:
  std::span<const std::int32_t> values_;
  double mean_;
  std::optional<Spread> spread_;
};

// The runs of one component, one a band.
struct ComponentRuns {
  std::vector<Run> bands;
  double mean = 0;

  double bits(Shapes shapes, int scale, std::span<const std::int8_t> band_scales, IndexTables& tables) {
    double sum = 0;
    for (std::size_t band = 0; band < bands.size(); ++band) {
      sum += bands[band].bits(shapes.at(scale + band_scales[band]), tables);
    }
    return sum;
  }
};

struct ScaleChoice {
  int scale = 0;
  double bits = 0;
};

// The cheapest scale of a shape. `near` is the neighbour's scale, or negative:
// then distance is free.
ScaleChoice best_scale(ComponentRuns& runs, Shapes shapes, int near, std::span<const std::int8_t> band_scales,
                       IndexTables& tables) {
  if (runs.mean == 0) return {};
  const auto price = [&](int scale) {
    const double distance = near < 0 ? 0 : kBitsPerScaleStep * std::abs(scale - near);
    return runs.bits(shapes, scale, band_scales, tables) + distance;
  };
  const int shift =
      runs.mean <= kWidestMean ? 0 : static_cast<int>(std::ceil(std::log2(runs.mean / kWidestMean)));
  const int top = std::min(base_scales(shapes.wide) + kScalesPerOctave * std::min(shift, kMaxShift),
                           max_scale(shapes.wide));
  int best = std::max(1, shift == 0 ? top / 2 : top);
  double least = price(best);
  while (least >= kImpossible && best < max_scale(shapes.wide)) least = price(++best);
  // Walk downhill: along the scales the cost has about one valley.
  for (const int direction : {-1, 1}) {
    int worse = 0;
    for (int scale = best + direction; scale >= 1 && scale <= max_scale(shapes.wide) && worse < 3;
         scale += direction) {
      const double bits = price(scale);
      worse = bits < least ? 0 : worse + 1;
      if (bits < least) least = bits, best = scale;
    }
  }
  return {best, runs.bits(shapes, best, band_scales, tables)};
}

// All components in one shape: scales given the bands', and the bands' given
// those.
class ShapeFit {
 public:
  ShapeFit(std::vector<ComponentRuns>& components, std::span<const std::uint8_t> expected, Shapes shapes,
           IndexTables& tables)
      : components_(components), expected_(expected), shapes_(shapes), tables_(tables) {}

  double fit_scales(std::span<const std::int8_t> band_scales, std::vector<std::uint8_t>& scales) {
    scales.clear();
    double bits = 0;
    int near = -1;
    for (ComponentRuns& runs : components_) {
      if (!expected_.empty()) near = scales.size() < expected_.size() ? expected_[scales.size()] : 0;
      const ScaleChoice choice = best_scale(runs, shapes_, near, band_scales, tables_);
      scales.push_back(static_cast<std::uint8_t>(choice.scale));
      near = choice.scale;
      bits += choice.bits;
    }
    return bits;
  }

  void fit_bands(std::span<const std::uint8_t> scales, std::span<std::int8_t> band_scales) {
    const std::size_t stride = (components_.size() - 1) / kSampledComponents + 1;
    for (std::size_t band = 0; band + 1 < band_scales.size(); ++band) {
      const auto price = [&](int offset) {
        double bits = 0;
        for (std::size_t k = 0; k < components_.size(); k += stride) {
          if (scales[k] == 0) continue;
          bits += components_[k].bands[band].bits(shapes_.at(scales[k] + offset), tables_);
        }
        return bits;
      };
      int best = band_scales[band];
      double least = price(best);
      for (const int direction : {-1, 1}) {
        int worse = 0;
        for (int offset = best + direction; std::abs(offset) <= kMaxBandScale && worse < 3;
             offset += direction) {
          const double bits = price(offset);
          worse = bits < least ? 0 : worse + 1;
          if (bits < least) least = bits, best = offset;
        }
      }
      band_scales[band] = static_cast<std::int8_t>(best);
    }
  }

 private:
  static constexpr std::size_t kSampledComponents = 256;
  std::vector<ComponentRuns>& components_;
  std::span<const std::uint8_t> expected_;
  Shapes shapes_;
  IndexTables& tables_;
};

}  // namespace

void Spread::add(std::span<const std::int32_t> run) {
  values += run.size();
  for (const std::int32_t value : run) {
    const auto size = static_cast<std::size_t>(std::abs(high_part(value, shift)));
    if (size < counts.size()) {
      ++counts[size];
      used = std::max(used, size + 1);
    } else {
      ++beyond;
      beyond_length += static_cast<std::uint64_t>(std::bit_width(size) - 1);
    }
  }
}

double class_cost(const Spread& spread, const IndexTable& table) {
  const auto half = static_cast<std::size_t>(table.half);
  double bits = static_cast<double>(spread.shift) * static_cast<double>(spread.values);
  for (std::size_t n = 0; n < std::min(spread.used, half + 1); ++n) {
    bits += spread.counts[n] * static_cast<double>(table.cost_bits[half + n]);
  }
  const double escape = static_cast<double>(table.cost_bits.back()) + kEscapeHeadBits;
  for (std::size_t n = half + 1; n < spread.used; ++n) {
    bits += spread.counts[n] * (escape + std::bit_width(n - half) - 1);
  }
  return bits + static_cast<double>(spread.beyond) * escape + static_cast<double>(spread.beyond_length);
}

double choose_index_classes(const ClassRequest& request, IndexTables& tables, ComponentParams& params) {
  const std::size_t rows = request.band_ends.back();
  const std::size_t bands = request.band_ends.size();
  std::vector<ComponentRuns> components;
  for (std::size_t begin = 0; begin < request.values.size(); begin += rows) {
    ComponentRuns& runs = components.emplace_back();
    std::size_t from = 0;
    for (const std::size_t end : request.band_ends) {
      runs.bands.emplace_back(request.values.subspan(begin + from, end - from));
      from = end;
    }
    runs.mean = mean_magnitude(request.values.subspan(begin, rows));
  }
  double least = std::numeric_limits<double>::infinity();
  const bool known = request.near != nullptr && request.near->band_scales.size() == bands;
  for (std::uint8_t wide = 0; wide < kShapes; ++wide) {
    if (known && request.near->shapes.wide != wide) continue;
    const Shapes shapes = known ? request.near->shapes : Shapes{.rare = kShapes - 1, .wide = wide};
    ShapeFit fit(components, request.expected, shapes, tables);
    std::vector<std::int8_t> band_scales =
        known ? request.near->band_scales : std::vector<std::int8_t>(bands, 0);
    std::vector<std::uint8_t> scales;
    double bits = fit.fit_scales(band_scales, scales);
    if (bands > 1) {
      fit.fit_bands(scales, band_scales);
      bits = fit.fit_scales(band_scales, scales);
    }
    if (bits >= least) continue;
    least = bits;
    params.shapes = shapes;
    params.scales = std::move(scales);
    params.band_scales = std::move(band_scales);
  }
  // The shapes of rare classes hardly differ in what a scale means: choose
  // among them last.
  for (std::uint8_t rare = 0; rare < kShapes; ++rare) {
    const Shapes shapes{.rare = rare, .wide = params.shapes.wide};
    double bits = 0;
    for (std::size_t k = 0; k < components.size(); ++k) {
      if (params.scales[k] > 0)
        bits += components[k].bits(shapes, params.scales[k], params.band_scales, tables);
    }
    if (bits < least) least = bits, params.shapes = shapes;
  }
  return least;
}

ClassChoice choose_class(std::span<const std::int32_t> values, IndexTables& tables) {
  ComponentParams params;
  const std::array<std::size_t, 1> band_ends = {values.size()};
  const double bits = choose_index_classes({.values = values, .band_ends = band_ends}, tables, params);
  return {params.index_class(0, 0), bits};
}

}  // namespace pinion::codec
