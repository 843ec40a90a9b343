#include "pinion/codec/math/symmetric_eigen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pinion::codec {
namespace {

struct Tridiagonal {
  std::vector<double> diagonal;
  std::vector<double> below;                    // below[i] couples i and i + 1
  std::vector<std::vector<double>> reflectors;  // reflector k acts on rows k + 1 .. n - 1, with norm sqrt(2)
};

// Every inner loop adds a multiple of one contiguous row to another, which
// compilers vectorise.
Tridiagonal tridiagonalise(std::vector<double>& a, std::size_t n) {
  Tridiagonal t{std::vector<double>(n), std::vector<double>(n), {}};
  for (std::size_t k = 0; k + 1 < n; ++k) {
    const std::size_t size = n - k - 1;
    std::vector<double> v(a.begin() + static_cast<std::ptrdiff_t>(k * n + k + 1),
                          a.begin() + static_cast<std::ptrdiff_t>(k * n + n));
    t.diagonal[k] = a[k * n + k];
    const double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    if (norm == 0 || size == 1) {
      t.below[k] = v[0];
      t.reflectors.emplace_back();
      continue;
    }
    const double target = v[0] > 0 ? -norm : norm;
    t.below[k] = target;
    v[0] -= target;
    const double scale = std::sqrt(2 / std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    for (double& value : v) value *= scale;

    // A <- (I - v v^T) A (I - v v^T) on the trailing block.
    std::vector<double> w(size);
    for (std::size_t i = 0; i < size; ++i) {
      const double* row = a.data() + (k + 1 + i) * n + k + 1;
      const double factor = v[i];
      for (std::size_t j = 0; j < size; ++j) w[j] += factor * row[j];
    }
    const double half = std::inner_product(v.begin(), v.end(), w.begin(), 0.0) / 2;
    for (std::size_t j = 0; j < size; ++j) w[j] -= half * v[j];
    for (std::size_t i = 0; i < size; ++i) {
      double* row = a.data() + (k + 1 + i) * n + k + 1;
      const double vi = v[i], wi = w[i];
      for (std::size_t j = 0; j < size; ++j) row[j] -= vi * w[j] + wi * v[j];
    }
    t.reflectors.push_back(std::move(v));
  }
  t.diagonal[n - 1] = a[n * n - 1];
  return t;
}

// The orthogonal matrix Q with A = Q T Q^T, as rows of Q^T.
Matrix accumulate(const Tridiagonal& t, std::size_t n) {
  std::vector<double> q(n * n);
  for (std::size_t i = 0; i < n; ++i) q[i * n + i] = 1;
  std::vector<double> w(n);
  for (std::size_t k = t.reflectors.size(); k-- > 0;) {
    const std::vector<double>& v = t.reflectors[k];
    if (v.empty()) continue;
    const std::size_t first = k + 1;  // rows and columns up to k are still those of the identity
    std::fill(w.begin(), w.end(), 0.0);
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double* row = q.data() + (first + i) * n;
      for (std::size_t j = first; j < n; ++j) w[j] += v[i] * row[j];
    }
    for (std::size_t i = 0; i < v.size(); ++i) {
      double* row = q.data() + (first + i) * n;
      for (std::size_t j = first; j < n; ++j) row[j] -= v[i] * w[j];
    }
  }
  Matrix rows(n, n);
  std::transform(q.begin(), q.end(), rows.values.begin(),
                 [](double value) { return static_cast<float>(value); });
  return transpose(rows);
}

void rotate(float* __restrict a, float* __restrict b, std::size_t n, double cosine, double sine) {
  const auto c = static_cast<float>(cosine);
  const auto s = static_cast<float>(sine);
  for (std::size_t i = 0; i < n; ++i) {
    const float upper = b[i];
    b[i] = s * a[i] + c * upper;
    a[i] = c * a[i] - s * upper;
  }
}

// Implicit QL; rotates the rows of `vectors` along.
void diagonalise(std::vector<double>& d, std::vector<double>& e, Matrix& vectors) {
  constexpr int kMaxIterations = 60;  // per eigenvalue; about two are usual
  const std::size_t n = d.size();
  e[n - 1] = 0;
  for (std::size_t l = 0; l < n; ++l) {
    for (int iteration = 0; iteration < kMaxIterations; ++iteration) {
      std::size_t m = l;
      for (; m + 1 < n; ++m) {
        const double size = std::abs(d[m]) + std::abs(d[m + 1]);
        if (std::abs(e[m]) <= std::numeric_limits<double>::epsilon() * size) break;
      }
      if (m == l) break;
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      double r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
      double s = 1, c = 1, p = 0;
      bool split = false;
      for (std::size_t i = m; i-- > l;) {
        const double f = s * e[i];
        const double b = c * e[i];
        r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          split = true;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        rotate(vectors.row(i).data(), vectors.row(i + 1).data(), vectors.columns, c, s);
      }
      if (split) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

}  // namespace

Eigen symmetric_eigen(std::vector<double> a, std::size_t n) {
  PINION_ASSERT(a.size() == n * n);
  Eigen result;
  if (n == 0) return result;
  Tridiagonal t = tridiagonalise(a, n);
  Matrix rows = accumulate(t, n);
  diagonalise(t.diagonal, t.below, rows);

  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) { return t.diagonal[i] > t.diagonal[j]; });
  result.vectors = Matrix(n, n);
  for (std::size_t k = 0; k < n; ++k) {
    result.values.push_back(t.diagonal[order[k]]);
    const auto row = rows.row(order[k]);
    std::copy(row.begin(), row.end(), result.vectors.row(k).begin());
  }
  return result;
}

}  // namespace pinion::codec
