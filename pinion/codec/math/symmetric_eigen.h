#pragma once
// Eigenvalues and eigenvectors of a real symmetric matrix: Householder
// tridiagonalisation, then implicit QL with Wilkinson shifts (Golub and Van
// Loan, Matrix Computations, chapter 8). Pure function.

#include <vector>

#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

struct Eigen {
  std::vector<double> values;  // largest first
  Matrix vectors;              // row k is the unit vector of values[k], to float32 accuracy
};

// `a` is n x n, row-major and symmetric; it is used up. Time grows with n^3:
// about a second at n = 768.
Eigen symmetric_eigen(std::vector<double> a, std::size_t n);

}  // namespace pinion::codec
