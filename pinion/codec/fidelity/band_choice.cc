#include "pinion/codec/fidelity/band_choice.h"

#include <algorithm>
#include <cmath>

namespace pinion::codec {
namespace {

constexpr std::size_t kMinRows = 16;
constexpr double kBandsPerOctave = 1;  // of variance
constexpr double kMinSpread = 0.1;     // standard deviation of a row's log2 variance that is worth a map

}  // namespace

BandChoice choose_bands(std::span<const float> sizes) {
  const std::size_t rows = sizes.size();
  if (rows < kMinRows) return {};
  std::vector<double> levels;
  double mean = 0, square = 0;
  for (const float size : sizes) {
    levels.push_back(std::log2(std::max(static_cast<double>(size), 1e-9)));
    mean += levels.back() / static_cast<double>(rows);
    square += levels.back() * levels.back() / static_cast<double>(rows);
  }
  if (square - mean * mean < kMinSpread * kMinSpread) return {};
  std::vector<double> sorted = levels;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(rows / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  BandChoice choice;
  choice.bands = kMaxBands;
  for (const double level : levels) {
    const long band = std::lround((level - *middle) * kBandsPerOctave) + kUsualBand;
    choice.band_of_row.push_back(static_cast<std::uint8_t>(std::clamp(band, 0l, long{kMaxBands} - 1)));
  }
  return choice;
}

}  // namespace pinion::codec
