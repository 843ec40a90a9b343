#include "pinion/codec/indices/class_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/codec/indices/scale_choice.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kShapeSample = 64;     // components by which shapes are chosen
constexpr std::size_t kBandSample = 128;     // and bands
constexpr std::size_t kChosenTogether = 16;  // components that are one piece of work
constexpr int kScalesPerBand = -2;           // to begin with: bands lie half an octave of width apart
constexpr int kPatience = 2;                 // worse scales in a row that end a search
constexpr int kSilentScales = 4;             // that components without values may be given

// Everything about one pair of shapes.
class ClassFit {
 public:
  ClassFit(RunPrices& runs, Shapes shapes, std::vector<std::int8_t> band_scales, IndexTables& tables)
      : runs_(runs), shapes_(shapes), band_scales_(std::move(band_scales)), tables_(tables) {
    expect_sizes();
  }

  const std::vector<std::int8_t>& band_scales() const { return band_scales_; }

  // The cheapest scale of a component by itself; adds what it tries to `tried`.
  int best_scale(std::size_t k, float& least) {
    if (runs_.mean_size(k) == 0) {
      least = 0;
      return 0;
    }
    const auto above = std::lower_bound(expected_.begin() + 1, expected_.end(), runs_.mean_size(k));
    int best = std::min(static_cast<int>(above - expected_.begin()), max_scale(shapes_.wide));
    least = price(k, best);
    while (least >= RunPrices::kImpossible && best < max_scale(shapes_.wide)) least = price(k, ++best);
    const int start = best;
    // Along the scales the cost has about one valley.
    for (const int direction : {-1, 1}) {
      int worse = 0;
      for (int scale = start + direction; scale >= 1 && scale <= max_scale(shapes_.wide) && worse < kPatience;
           scale += direction) {
        const float bits = price(k, scale);
        worse = bits < least ? 0 : worse + 1;
        if (bits < least) least = bits, best = scale;
      }
      if (direction < 0 && best < start) break;
    }
    return best;
  }

  // Costs around a scale that is about the best.
  ScaleWindow window(std::size_t k, int best) {
    ScaleWindow window;
    if (runs_.mean_size(k) == 0) {
      window.count = kSilentScales;
    } else {
      while (price(k, best) >= RunPrices::kImpossible && best < max_scale(shapes_.wide)) ++best;
      window.first = std::max(1, best - ScaleWindow::kMaxScales / 2 + 1);
      window.count = std::min(ScaleWindow::kMaxScales, max_scale(shapes_.wide) + 1 - window.first);
    }
    for (int i = 0; i < window.count; ++i) {
      window.bits[static_cast<std::size_t>(i)] = price(k, window.first + i);
    }
    return window;
  }

  // Moves every band's offset to where the given components are cheapest.
  void fit_bands(std::span<const std::size_t> components, std::span<const std::uint8_t> scales) {
    for (std::size_t band = 0; band + 1 < band_scales_.size(); ++band) {
      if (runs_.band_rows(band) == 0) continue;
      const auto band_price = [&](int offset) {
        double bits = 0;
        for (std::size_t i = 0; i < components.size(); ++i) {
          if (scales[i] == 0) continue;
          bits += static_cast<double>(
              runs_.band_bits(components[i], band, shapes_.at(scales[i] + offset), tables_));
        }
        return bits;
      };
      int best = band_scales_[band];
      double least = band_price(best);
      const int start = best;
      for (const int direction : {-1, 1}) {
        int worse = 0;
        for (int offset = start + direction; std::abs(offset) <= kMaxBandScale && worse < kPatience;
             offset += direction) {
          const double bits = band_price(offset);
          worse = bits < least ? 0 : worse + 1;
          if (bits < least) least = bits, best = offset;
        }
      }
      band_scales_[band] = static_cast<std::int8_t>(best);
    }
    expect_sizes();
  }

  float price(std::size_t k, int scale) { return runs_.bits(k, shapes_, scale, band_scales_, tables_); }

 private:
  // The mean size of values that each scale suits, over all bands.
  void expect_sizes() {
    expected_.assign(1, 0);
    for (int scale = 1; scale <= max_scale(shapes_.wide); ++scale) {
      float sum = 0;
      for (std::size_t band = 0; band < band_scales_.size(); ++band) {
        const IndexClass index_class = shapes_.at(scale + band_scales_[band]);
        if (index_class.scale == 0) continue;
        const ClassCode code = tables_.get(index_class);
        sum += static_cast<float>(runs_.band_rows(band)) * std::ldexp(code.table->mean_size, code.shift);
      }
      expected_.push_back(std::max(expected_.back(), sum / static_cast<float>(runs_.rows())));
    }
  }

  RunPrices& runs_;
  Shapes shapes_;
  std::vector<std::int8_t> band_scales_;
  IndexTables& tables_;
  std::vector<float> expected_;  // by scale
};

// At most so many of the components that hold anything, spread evenly.
std::vector<std::size_t> sample_of(const RunPrices& runs, std::size_t most) {
  std::vector<std::size_t> heard;
  for (std::size_t k = 0; k < runs.components(); ++k) {
    if (runs.mean_size(k) > 0) heard.push_back(k);
  }
  if (heard.size() <= most) return heard;
  std::vector<std::size_t> sample;
  for (std::size_t i = 0; i < most; ++i) sample.push_back(heard[i * heard.size() / most]);
  return sample;
}

std::vector<std::int8_t> first_band_scales(std::size_t bands) {
  std::vector<std::int8_t> scales;
  for (std::size_t band = 0; band < bands; ++band) {
    scales.push_back(static_cast<std::int8_t>(kScalesPerBand * static_cast<int>(bands - 1 - band)));
  }
  return scales;
}

double fit_sample(ClassFit& fit, std::span<const std::size_t> sample, std::vector<std::uint8_t>& scales) {
  scales.clear();
  double sum = 0;
  for (const std::size_t k : sample) {
    float bits = 0;
    scales.push_back(static_cast<std::uint8_t>(fit.best_scale(k, bits)));
    sum += static_cast<double>(bits);
  }
  return sum;
}

struct ShapeChoice {
  Shapes shapes;
  std::vector<std::int8_t> band_scales;
};

ShapeChoice choose_shapes(RunPrices& runs, IndexTables& tables) {
  const std::vector<std::size_t> sample = sample_of(runs, kShapeSample);
  ShapeChoice choice{{}, first_band_scales(runs.bands())};
  std::vector<std::uint8_t> chosen_scales;
  double least = std::numeric_limits<double>::infinity();
  for (std::uint8_t wide = 0; wide < kShapes; ++wide) {
    const Shapes shapes{.rare = kShapes - 1, .wide = wide};
    ClassFit fit(runs, shapes, choice.band_scales, tables);
    std::vector<std::uint8_t> scales;
    double bits = fit_sample(fit, sample, scales);
    if (runs.bands() > 1) {
      fit.fit_bands(sample, scales);
      bits = fit_sample(fit, sample, scales);
    }
    if (bits >= least) continue;
    least = bits;
    choice = {shapes, fit.band_scales()};
    chosen_scales = std::move(scales);
  }
  // The shapes of rare classes hardly differ in what a scale means: choose
  // among them last.
  for (std::uint8_t rare = 0; rare < kShapes; ++rare) {
    const Shapes shapes{.rare = rare, .wide = choice.shapes.wide};
    double bits = 0;
    for (std::size_t i = 0; i < sample.size(); ++i) {
      bits += static_cast<double>(runs.bits(sample[i], shapes, chosen_scales[i], choice.band_scales, tables));
    }
    if (bits < least) least = bits, choice.shapes = shapes;
  }
  return choice;
}

}  // namespace

double choose_index_classes(RunPrices& runs, const ClassRequest& request, IndexTables& tables,
                            ChunkPool& pool, ComponentParams& params) {
  const bool known = request.near != nullptr && request.near->band_scales.size() == runs.bands() &&
                     request.near->scales.size() == runs.components();
  const ShapeChoice choice =
      known ? ShapeChoice{request.near->shapes, request.near->band_scales} : choose_shapes(runs, tables);
  ClassFit fit(runs, choice.shapes, choice.band_scales, tables);
  if (!known && runs.bands() > 1) {
    const std::vector<std::size_t> sample = sample_of(runs, kBandSample);
    std::vector<std::uint8_t> scales;
    fit_sample(fit, sample, scales);
    fit.fit_bands(sample, scales);
  }
  std::vector<ScaleWindow> windows(runs.components());
  pool.run_in_groups(windows.size(), kChosenTogether, [&](std::size_t k, std::size_t) {
    float bits = 0;
    windows[k] = fit.window(k, known ? request.near->scales[k] : fit.best_scale(k, bits));
  });
  ScaleChoice scales = choose_scales(windows, request.last_scales);
  params.shapes = choice.shapes;
  params.band_scales = fit.band_scales();
  params.scales = std::move(scales.scales);
  return scales.bits;
}

ClassChoice choose_class(std::span<const std::int32_t> values, IndexTables& tables) {
  ChunkPool alone;
  RunPrices runs(values, values.size(), {}, 1, alone);
  ClassChoice best{{}, std::numeric_limits<double>::infinity()};
  if (values.empty() || runs.mean_size(0) == 0) return {{}, 0};
  for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
    const Shapes shapes{.rare = shape, .wide = shape};
    ClassFit fit(runs, shapes, {0}, tables);
    float bits = 0;
    const int scale = fit.best_scale(0, bits);
    if (static_cast<double>(bits) < best.bits) best = {shapes.at(scale), static_cast<double>(bits)};
  }
  return best;
}

}  // namespace pinion::codec
