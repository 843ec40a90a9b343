#include "pinion/codec/class_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

namespace pinion::codec {
namespace {

constexpr double kEscapeHeadBits = 6;
constexpr double kBitsPerScaleStep = 1;  // of the parameters, for moving away from the neighbour's scale
constexpr double kWidestMean = 8;        // mean magnitude that the widest base tables suit

int magnitude(std::int32_t value, int shift) {
  return std::abs(shift == 0 ? value : (value + (1 << (shift - 1))) >> shift);
}

double mean_magnitude(std::span<const std::int32_t> values) {
  double sum = 0;
  for (const std::int32_t value : values) sum += std::abs(value);
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// One run, ready to be priced in any class; keeps the spread of the last shift it was asked for.
class Run {
 public:
  explicit Run(std::span<const std::int32_t> values) : values_(values), mean_(mean_magnitude(values)) {}

  double mean() const { return mean_; }

  double bits(IndexClass index_class, IndexTables& tables) {
    const int shift = split_class(index_class).shift;
    if (!spread_ || spread_->shift != shift) spread_.emplace(values_, shift);
    return class_cost(*spread_, tables.get(index_class));
  }

 private:
  std::span<const std::int32_t> values_;
  double mean_;
  std::optional<Spread> spread_;
};

// The cheapest scale of a shape. `near` is the neighbour's scale, or negative: then distance is free.
ClassChoice best_scale(Run& run, std::uint8_t shape, int near, IndexTables& tables) {
  const auto price = [&](int scale) {
    const double distance = near < 0 ? 0 : kBitsPerScaleStep * std::abs(scale - near);
    return run.bits({shape, static_cast<std::uint8_t>(scale)}, tables) + distance;
  };
  // Walk downhill from a guess: the cost has one valley along the scales of one shift.
  const int octave = 2 * (shape + 1);
  const int shift =
      run.mean() <= kWidestMean ? 0 : static_cast<int>(std::ceil(std::log2(run.mean() / kWidestMean)));
  const int top = std::min(base_scales(shape) + octave * std::min(shift, kMaxShift), max_scale(shape));
  int best = std::max(1, shift == 0 ? top / 2 : top);
  double least = price(best);
  for (const int direction : {-1, 1}) {
    int worse = 0;
    for (int scale = best + direction; scale >= 1 && scale <= max_scale(shape) && worse < 3;
         scale += direction) {
      const double bits = price(scale);
      worse = bits < least ? 0 : worse + 1;
      if (bits < least) least = bits, best = scale;
    }
  }
  const IndexClass chosen{shape, static_cast<std::uint8_t>(best)};
  return {chosen, run.bits(chosen, tables)};
}

}  // namespace

Spread::Spread(std::span<const std::int32_t> run, int with_shift) : shift(with_shift), values(run.size()) {
  for (const std::int32_t value : run) {
    const auto size = static_cast<std::size_t>(magnitude(value, shift));
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

double choose_index_classes(std::span<const std::int32_t> values, std::size_t rows, IndexTables& tables,
                            ComponentParams& params) {
  const std::size_t components = rows == 0 ? 0 : values.size() / rows;
  params.scales.assign(components, 0);
  std::vector<Run> runs;
  for (std::size_t k = 0; k < components; ++k) runs.emplace_back(values.subspan(k * rows, rows));

  double least = std::numeric_limits<double>::infinity();
  for (std::uint8_t shape = 0; shape < kShapes; ++shape) {
    std::vector<std::uint8_t> scales(components);
    double bits = 0;
    int near = -1;
    for (std::size_t k = 0; k < components; ++k) {
      if (runs[k].mean() == 0) {
        near = 0;
        continue;
      }
      const ClassChoice choice = best_scale(runs[k], shape, near, tables);
      scales[k] = choice.index_class.scale;
      near = scales[k];
      bits += choice.bits;
    }
    if (bits < least) {
      least = bits;
      params.shape = shape;
      params.scales = std::move(scales);
    }
  }
  return least;
}

ClassChoice choose_class(std::span<const std::int32_t> values, IndexTables& tables) {
  Run run(values);
  if (run.mean() == 0) return {};
  ClassChoice best = best_scale(run, 0, -1, tables);
  for (std::uint8_t shape = 1; shape < kShapes; ++shape) {
    if (const ClassChoice choice = best_scale(run, shape, -1, tables); choice.bits < best.bits) best = choice;
  }
  return best;
}

}  // namespace pinion::codec
