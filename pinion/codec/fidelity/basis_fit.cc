#include "pinion/codec/fidelity/basis_fit.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace pinion::codec {
namespace {

// The inverse of a symmetric positive definite matrix by its Cholesky factor;
// nothing if it is singular.
std::optional<Matrix> invert(const Matrix& gram) {
  const std::size_t n = gram.rows;
  std::vector<double> a(gram.values.begin(), gram.values.end());
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

}  // namespace

Result<std::shared_ptr<const BasisFit>> fit_basis(Bytes asset) {
  auto fit = std::make_shared<BasisFit>();
  PINION_TRY(fit->basis, decode_basis(asset, kOwnBasisLimits));
  const Matrix columns = transpose(fit->basis->rows);
  const std::optional<Matrix> inverse = invert(multiply_transposed(columns, columns));
  if (!inverse) return Error{Errc::kBadFormat, "codec basis: its directions depend on each other", ""};
  fit->analysis = multiply_transposed(fit->basis->rows, *inverse);
  for (std::size_t k = 0; k < fit->basis->rows.rows; ++k) {
    fit->weights.push_back(energy(fit->basis->rows.row(k)));
  }
  fit->asset = std::move(asset);
  return std::shared_ptr<const BasisFit>(std::move(fit));
}

Projection project(const BasisFit& fit, const Matrix& centred_transposed) {
  Projection projection;
  projection.weights = fit.weights;
  projection.components =
      std::make_shared<const Matrix>(multiply_transposed(fit.analysis, centred_transposed));
  const Matrix inside = multiply_transposed(fit.basis->rows, *projection.components);
  double outside = 0;
  for (std::size_t i = 0; i < inside.values.size(); ++i) {
    const double rest = static_cast<double>(centred_transposed.values[i]) - inside.values[i];
    outside += rest * rest;
  }
  projection.outside = outside / static_cast<double>(centred_transposed.columns);
  return projection;
}

}  // namespace pinion::codec
