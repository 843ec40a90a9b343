#include "pinion/codec/math/principal_components.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "pinion/codec/math/symmetric_eigen.h"

namespace pinion::codec {
namespace {

constexpr int kPowerIterations = 2;
constexpr std::size_t kFewComponents = 128;  // all are found at once
constexpr double kNoiseFloor = 1e-12;        // of the largest variance: below, float32 sums hold nothing

std::vector<double> to_double(const Matrix& m) { return {m.values.begin(), m.values.end()}; }

// Subtracts from the rows of `block` what lies in the span of the orthonormal
// rows of `done`.
void project_out(const Matrix& done, Matrix& block) {
  if (done.rows == 0) return;
  const Matrix coefficients = multiply_transposed(transpose(done), transpose(block));  // [done, block]
  const Matrix part = multiply_transposed(coefficients, done);
  for (std::size_t i = 0; i < part.values.size(); ++i) block.values[i] -= part.values[i];
}

// Orthonormal rows with the span of those of `rows`, block by block, every
// projection twice. Rows that depend on earlier ones become zero.
Matrix orthonormal_rows(const Matrix& rows) {
  constexpr std::size_t kBlock = 32;
  Matrix done;
  done.columns = rows.columns;
  for (std::size_t begin = 0; begin < rows.rows; begin += kBlock) {
    const std::size_t count = std::min(kBlock, rows.rows - begin);
    Matrix block(count, rows.columns);
    for (std::size_t i = 0; i < count; ++i) {
      const double length = std::sqrt(energy(rows.row(begin + i)));
      const auto scale = static_cast<float>(length > 0 ? 1 / length : 0);
      for (std::size_t j = 0; j < rows.columns; ++j) block.row(i)[j] = rows.row(begin + i)[j] * scale;
    }
    project_out(done, block);
    project_out(done, block);
    for (std::size_t i = 0; i < count; ++i) {
      const auto row = block.row(i);
      for (int pass = 0; pass < 2; ++pass) {
        for (std::size_t k = 0; k < i; ++k) {
          const auto earlier = block.row(k);
          const float overlap = dot(earlier, row);
          for (std::size_t j = 0; j < row.size(); ++j) row[j] -= overlap * earlier[j];
        }
      }
      const double length = std::sqrt(energy(row));
      const auto scale = static_cast<float>(length > 1e-6 ? 1 / length : 0);
      for (float& value : row) value *= scale;
    }
    done.values.insert(done.values.end(), block.values.begin(), block.values.end());
    done.rows += count;
  }
  return done;
}

// Orthonormal rows that nearly span the strongest directions of `centred`.
Matrix strongest_range(const Matrix& centred, const Matrix& centred_transposed, std::size_t count) {
  Matrix range(count, centred.columns);  // random signs to begin with
  std::uint64_t state = 0x9e3779b97f4a7c15u;
  for (float& value : range.values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = (state >> 63) != 0 ? 1.0f : -1.0f;
  }
  for (int i = 0; i < kPowerIterations; ++i) {
    const Matrix image = orthonormal_rows(multiply_transposed(transpose(range), centred_transposed));
    range = orthonormal_rows(multiply_transposed(transpose(image), centred));
  }
  return range;
}

void normalise_rows(Matrix& m) {
  for (std::size_t k = 0; k < m.rows; ++k) {
    const double length = std::sqrt(energy(m.row(k)));
    const auto scale = static_cast<float>(length > 0 ? 1 / length : 0);
    for (float& value : m.row(k)) value *= scale;
  }
}

void keep_significant(PrincipalComponents& found) {
  std::size_t count = 0;
  const double floor = found.variances.empty() ? 0 : found.variances.front() * kNoiseFloor;
  while (count < found.variances.size() && found.variances[count] > floor) ++count;
  found.variances.resize(count);
  found.directions.rows = count;
  found.directions.values.resize(count * found.directions.columns);
}

}  // namespace

PrincipalComponents principal_components(const Matrix& centred, std::size_t most) {
  PINION_ASSERT(most >= 1 && most <= kMaxComponents);
  const auto rows = static_cast<double>(centred.rows);
  PrincipalComponents found;
  found.total_variance = energy(centred.values) / rows;
  if (centred.columns <= std::max(most, kFewComponents)) {
    Eigen eigen = symmetric_eigen(to_double(multiply_transposed(centred, centred)), centred.columns);
    found.variances = std::move(eigen.values);
    found.directions = std::move(eigen.vectors);
  } else {
    const Matrix centred_transposed = transpose(centred);
    if (centred.rows > most) {
      const Matrix range = strongest_range(centred, centred_transposed, most);
      const Matrix small = multiply_transposed(centred_transposed, transpose(range));  // [rows, most]
      Eigen eigen = symmetric_eigen(to_double(multiply_transposed(small, small)), small.columns);
      found.variances = std::move(eigen.values);
      found.directions = multiply_transposed(transpose(eigen.vectors), range);
    } else {
      // Few rows: the eigenvectors of their inner products, carried over to the
      // channels.
      Eigen eigen = symmetric_eigen(to_double(multiply_transposed(centred_transposed, centred_transposed)),
                                    centred.rows);
      found.variances = std::move(eigen.values);
      found.directions = multiply_transposed(transpose(eigen.vectors), centred);
      normalise_rows(found.directions);
    }
  }
  for (double& variance : found.variances) variance /= rows;
  keep_significant(found);
  return found;
}

}  // namespace pinion::codec
