#include "pinion/codec/indices/laplace_model.h"

#include <cmath>

namespace pinion::codec {
namespace {

constexpr double kAlwaysZero = 0.02;  // deviations below: an index of 1 is rarer than 1e-15
constexpr double kFine = 30;          // above, the closed forms lose digits and the limits are exact enough

// The density is rate/2 exp(-rate |x|).
double rate_of(double deviation) { return std::sqrt(2.0) / deviation; }

double binary_entropy(double p) {
  return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

}  // namespace

double laplace_error(double deviation) {
  if (deviation < kAlwaysZero) return deviation * deviation;
  if (deviation > kFine) return 1.0 / 12;
  const double a = rate_of(deviation);
  // The bin around 0, and the bins outside: there, the place in the bin is exponential, whichever bin it is.
  const double outside = std::exp(-a / 2);
  const double zero_bin = 2 / (a * a) - outside * (0.25 + 1 / a + 2 / (a * a));
  const double next = std::exp(-a);
  const double mean = 1 / a - next / (1 - next);
  const double square = 2 / (a * a) - next * (1 + 2 / a) / (1 - next);
  return zero_bin + outside * (square - mean + 0.25);
}

double laplace_bits(double deviation) {
  if (deviation < kAlwaysZero) return 0;
  const double a = rate_of(deviation);
  const double outside = std::exp(-a / 2);
  const double next = std::exp(-a);
  // Zero or not, the sign, and a magnitude that goes on with probability `next`.
  return binary_entropy(outside) + outside * (1 + binary_entropy(next) / (1 - next));
}

}  // namespace pinion::codec
