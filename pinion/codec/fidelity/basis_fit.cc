#include "pinion/codec/fidelity/basis_fit.h"

#include "pinion/codec/math/cholesky.h"

namespace pinion::codec {
Result<std::shared_ptr<const BasisFit>> fit_basis(Bytes asset) {
  auto fit = std::make_shared<BasisFit>();
  PINION_TRY(fit->basis, decode_basis(asset, kOwnBasisLimits));
  const Matrix columns = transpose(fit->basis->rows);
  const std::optional<Matrix> inverse = inverse_of_positive(multiply_transposed(columns, columns));
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
