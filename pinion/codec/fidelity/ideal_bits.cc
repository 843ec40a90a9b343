#include "pinion/codec/fidelity/ideal_bits.h"

#include <array>
#include <cmath>
#include <map>

namespace pinion::codec {
namespace {

// Counts of values: an array for the many small ones, a map for the rest.
class Histogram {
 public:
  void add(std::int32_t value, std::size_t count) {
    if (value >= -kSmall && value < kSmall) {
      small_[static_cast<std::size_t>(value + kSmall)] += count;
    } else {
      large_[value] += count;
    }
    total_ += count;
  }

  double entropy_bits() const {
    double bits = 0;
    const auto count_in = [&](std::size_t count) {
      if (count > 0)
        bits +=
            static_cast<double>(count) * std::log2(static_cast<double>(total_) / static_cast<double>(count));
    };
    for (const std::size_t count : small_) count_in(count);
    for (const auto& [value, count] : large_) count_in(count);
    return bits;
  }

 private:
  static constexpr std::int32_t kSmall = 256;
  std::array<std::size_t, 2 * kSmall> small_{};
  std::map<std::int32_t, std::size_t> large_;
  std::size_t total_ = 0;
};

}  // namespace

double ideal_bits(const QuantisedFrame& frame) {
  const ComponentParams& params = frame.params.components;
  std::map<IndexClass, Histogram> by_class;
  double plain_bits = 0;
  std::array<std::size_t, kMaxBands> band_rows{};
  for (const std::uint8_t band : frame.band_of_row) ++band_rows[band];
  const std::size_t rows = params.scales.empty() ? 0 : frame.residuals.size() / params.scales.size();
  if (frame.band_of_row.empty()) band_rows[0] = rows;
  // Small values of a component are counted by band first: [band, value].
  constexpr std::int32_t kNear = 32;
  std::array<std::uint32_t, 2 * kNear * kMaxBands> near;
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    std::array<Histogram*, kMaxBands> histograms{};
    std::array<int, kMaxBands> shifts{};
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      const IndexClass index_class = params.index_class(k, band);
      if (index_class.scale == 0) continue;
      histograms[band] = &by_class[index_class];
      shifts[band] = split_class(index_class).shift;
    }
    near.fill(0);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t band = frame.band_of_row.empty() ? 0 : frame.band_of_row[row];
      const std::int32_t value = high_part(frame.residuals[k * rows + row], shifts[band]);
      if (value >= -kNear && value < kNear) {
        ++near[band * 2 * kNear + static_cast<std::size_t>(value + kNear)];
      } else {
        histograms[band]->add(value, 1);
      }
    }
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      if (histograms[band] == nullptr) continue;
      for (std::int32_t value = -kNear; value < kNear; ++value) {
        const std::uint32_t count = near[band * 2 * kNear + static_cast<std::size_t>(value + kNear)];
        if (count > 0) histograms[band]->add(value, count);
      }
      plain_bits += static_cast<double>(shifts[band]) * static_cast<double>(band_rows[band]);
    }
  }
  double bits = plain_bits;
  for (const auto& [index_class, histogram] : by_class) bits += histogram.entropy_bits();

  Histogram means;
  const int shift = split_class(frame.params.mean_class).shift;
  for (const std::int32_t residual : frame.mean_residuals) means.add(high_part(residual, shift), 1);
  return bits + means.entropy_bits() +
         static_cast<double>(shift) * static_cast<double>(frame.mean_residuals.size());
}

}  // namespace pinion::codec
