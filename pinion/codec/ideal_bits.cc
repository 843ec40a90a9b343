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
  std::map<std::uint8_t, Histogram> by_scale;
  const std::size_t rows = params.scales.empty() ? 0 : frame.residuals.size() / params.scales.size();
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    if (params.scales[k] == 0) continue;
    for (std::size_t r = 0; r < rows; ++r) by_scale[params.scales[k]].add(frame.residuals[k * rows + r]);
  }
  Histogram means;
  for (const std::int32_t residual : frame.mean_residuals) means.add(residual);
  double bits = means.entropy_bits();
  for (const auto& [scale, histogram] : by_scale) bits += histogram.entropy_bits();
  return bits;
}

}  // namespace pinion::codec
