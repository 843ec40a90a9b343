#pragma once
// Which scale each component is written with, counting what writing the scales themselves takes. Pure
// function.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace pinion::codec {

// What a component's indices would take in neighbouring scales.
struct ScaleWindow {
  static constexpr int kMaxScales = 6;
  int first = 0;
  int count = 0;
  std::array<float, kMaxScales> bits{};
};

struct ScaleChoice {
  std::vector<std::uint8_t> scales;
  double bits = 0;  // of the indices and of the scales
};

// Scales are written as differences from their left neighbours or, where that is not empty, from `last`.
ScaleChoice choose_scales(std::span<const ScaleWindow> windows, std::span<const std::uint8_t> last);

}  // namespace pinion::codec
