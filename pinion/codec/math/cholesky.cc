#include "pinion/codec/math/cholesky.h"

#include <algorithm>
#include <cmath>

namespace pinion::codec {

std::optional<Matrix> inverse_of_positive(const Matrix& matrix) {
  const std::size_t n = matrix.rows;
  std::vector<double> a(matrix.values.begin(), matrix.values.end());
  std::vector<double> inverse(n * n);  // becomes L^-1, by the same row operations that reduce a to L^T
  for (std::size_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (std::size_t k = 0; k < n; ++k) {
    const double pivot = a[k * n + k];
    if (!(pivot > 1e-6)) return std::nullopt;
    const double scale = 1 / std::sqrt(pivot);
    for (std::size_t j = k; j < n; ++j) a[k * n + j] *= scale;
    for (std::size_t j = 0; j <= k; ++j) inverse[k * n + j] *= scale;
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = a[k * n + i];
      if (factor == 0) continue;
      for (std::size_t j = i; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
      for (std::size_t j = 0; j <= k; ++j) inverse[i * n + j] -= factor * inverse[k * n + j];
    }
  }
  Matrix lower(n, n);
  std::transform(inverse.begin(), inverse.end(), lower.values.begin(),
                 [](double v) { return static_cast<float>(v); });
  return multiply_transposed(lower, lower);
}

std::optional<double> log_determinant(std::vector<double> a, std::size_t n) {
  double sum = 0;
  for (std::size_t k = 0; k < n; ++k) {
    const double pivot = a[k * n + k];
    if (!(pivot > 0)) return std::nullopt;
    sum += std::log(pivot);
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = a[k * n + i] / pivot;
      for (std::size_t j = i; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return sum;
}

}  // namespace pinion::codec
