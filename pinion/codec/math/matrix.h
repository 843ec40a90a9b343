#pragma once
// Small dense matrices of float32 and the one product that the codec needs.
// Thread-safe, no global state.
//
// Results are the same on every machine: sums are in one order (of products: pinion/codec/math/product.h).

#include <cstddef>
#include <span>
#include <vector>

#include "pinion/base/assert.h"
#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

// Row-major.
struct Matrix {
  Matrix() = default;
  Matrix(std::size_t row_count, std::size_t column_count)
      : rows(row_count), columns(column_count), values(row_count * column_count) {}

  std::span<float> row(std::size_t r) { return {values.data() + r * columns, columns}; }
  std::span<const float> row(std::size_t r) const { return {values.data() + r * columns, columns}; }
  bool empty() const { return values.empty(); }

  // Values are whatever they were.
  void resize(std::size_t row_count, std::size_t column_count) {
    rows = row_count;
    columns = column_count;
    values.resize(rows * columns);
  }

  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> values;
};

Matrix transpose(const Matrix& a);

// a^T b for a [k, m] and b [k, n]: [m, n]. Blocked for the caches, vectorised
// for the CPU it runs on.
Matrix multiply_transposed(const Matrix& a, const Matrix& b, CpuPath path = best_cpu_path());

// Their inner product, in four interleaved sums.
float dot(std::span<const float> a, std::span<const float> b);

// Sum of squares, in double precision.
double energy(std::span<const float> values);

}  // namespace pinion::codec
