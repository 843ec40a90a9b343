#pragma once

#include <ATen/ATen.h>

namespace pinion::calibration {

// The symmetric W with W W = `matrix`, which is symmetric; eigenvalues that rounding made negative count as
// 0.
inline at::Tensor symmetric_root(const at::Tensor& matrix) {
  const auto [values, vectors] = at::linalg_eigh(matrix);
  return (vectors * values.clamp_min(0).sqrt()).matmul(vectors.t());
}

}  // namespace pinion::calibration
