#pragma once
// What the tests of bounded coding share.

#include <array>
#include <cmath>
#include <limits>

#include "pinion/codec/codec_testing.h"

namespace pinion::codec::testing {

// Values of many sizes, one that dwarfs all, and now and then what is not finite.
inline Tensor wild(DType dtype, const Shape& shape, std::uint32_t seed, bool finite) {
  Dice dice(seed);
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(std::ldexp(dice.normal(), static_cast<int>(i % 5) * 3 - 6));
    if (!finite && dice.bits() % 50 == 0)
      values[i] = std::array{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()}[dice.bits() % 3];
  }
  if (!values.empty()) values[values.size() / 2] = 60000;
  return tensor_of(dtype, shape, values);
}

}  // namespace pinion::codec::testing
