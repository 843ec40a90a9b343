#pragma once
// The principal components of a set of rows. Pure function, deterministic.

#include <vector>

#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

// Beyond this many, only the largest are found (by a randomised range finder:
// Halko, Martinsson and Tropp, SIAM Review 53(2), 2011, algorithm 4.4).
inline constexpr std::size_t kMaxComponents = 768;

struct PrincipalComponents {
  std::vector<double> variances;  // mean square along each, largest first; only
                                  // those above rounding noise
  Matrix directions;              // row k is the unit vector of variances[k]
  double total_variance = 0;      // mean squared length of a row
};

// `centred` is [rows, channels] without its mean; not empty. Finds at most `most`, which is at most
// kMaxComponents: the fewer, the faster.
PrincipalComponents principal_components(const Matrix& centred, std::size_t most = kMaxComponents);

}  // namespace pinion::codec
