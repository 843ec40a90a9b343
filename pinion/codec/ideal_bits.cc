#include "pinion/codec/ideal_bits.h"

#include <array>
#include <cmath>
#include <map>

namespace pinion::codec {
namespace {

// Counts of values: an array for the many small ones, a map for the rest.
class Histogram {
 public:
  void add(std::int32_t value) {
    if (value >= -kSmall && value < kSmall) {
      ++small_[static_cast<std::size_t>(value + kSmall)];
    } else {
      ++large_[value];
    }
    ++total_;
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
  const std::size_t rows = params.scales.empty() ? 0 : frame.residuals.size() / params.scales.size();
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    std::array<Histogram*, kMaxBands> histograms{};
    std::array<int, kMaxBands> shifts{};
    for (std::size_t band = 0; band < params.band_scales.size(); ++band) {
      const IndexClass index_class = params.index_class(k, band);
      if (index_class.scale == 0) continue;
      histograms[band] = &by_class[index_class];
      shifts[band] = split_class(index_class).shift;
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t band = frame.band_of_row.empty() ? 0 : frame.band_of_row[row];
      if (histograms[band] == nullptr) continue;
      histograms[band]->add(high_part(frame.residuals[k * rows + row], shifts[band]));
      plain_bits += shifts[band];
    }
  }
  double bits = plain_bits;
  for (const auto& [index_class, histogram] : by_class) bits += histogram.entropy_bits();

  Histogram means;
  const int shift = split_class(frame.params.mean_class).shift;
  for (const std::int32_t residual : frame.mean_residuals) means.add(high_part(residual, shift));
  return bits + means.entropy_bits() +
         static_cast<double>(shift) * static_cast<double>(frame.mean_residuals.size());
}

}  // namespace pinion::codec
