#pragma once
// Symmetric positive definite matrices by their Cholesky factors. Pure functions.

#include <optional>
#include <vector>

#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

// The inverse, computed in float64; nothing if the matrix is singular: a pivot is below 1e-6, so that it
// should be scaled to a diagonal near 1.
std::optional<Matrix> inverse_of_positive(const Matrix& matrix);

// The logarithm of the determinant of a matrix [n, n]; nothing if it is not positive definite.
std::optional<double> log_determinant(std::vector<double> matrix, std::size_t n);

}  // namespace pinion::codec
