#pragma once
// A base-2 logarithm for estimates: the same bits on every machine, and loops over it vectorise.

#include <bit>
#include <cstdint>

namespace pinion::codec {

// Of a positive normal number, to about 2e-5.
inline float fast_log2(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto exponent = static_cast<std::int32_t>(bits >> 23) - 127;
  const auto m = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f800000u);  // 1 to 2
  // The polynomial through the Chebyshev nodes of the fifth degree.
  const float log_m =
      -2.7879262f +
      (5.0478554f + (-3.4898787f + (1.5894743f + (-0.40251338f + 0.043004956f * m) * m) * m) * m) * m;
  return static_cast<float>(exponent) + log_m;
}

}  // namespace pinion::codec
