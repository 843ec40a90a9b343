#pragma once
// Tensors for the tests of planes.

#include <cmath>
#include <random>
#include <vector>

#include "pinion/base/tensor.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::codec::testing {

// Normal noise; each channel has a scale and a mean of its own.
inline std::vector<float> scaled_noise(std::size_t tokens, std::size_t channels, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> scales(channels), means(channels), values(tokens * channels);
  for (std::size_t c = 0; c < channels; ++c) {
    scales[c] = std::exp2(2 * normal(random));
    means[c] = scales[c] * normal(random);
  }
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = means[i % channels] + scales[i % channels] * normal(random);
  return values;
}

inline Tensor tensor_of(const std::vector<float>& values, const TokenGrid& grid) {
  const std::size_t tokens = grid.tokens();
  return Tensor::from_floats(
      values, {static_cast<std::int64_t>(tokens), static_cast<std::int64_t>(values.size() / tokens)});
}

// Room for the rounding of a value of that size to float32, and of the arithmetic before it.
inline double rounding(double magnitude) { return magnitude * 0x1p-22; }

}  // namespace pinion::codec::testing
