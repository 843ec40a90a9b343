#include "pinion/codec/math/matrix.h"

#include <algorithm>

#include "pinion/codec/math/product.h"

namespace pinion::codec {
namespace {

// Columns of the product in one go: the packed sides stay in the second-level cache.
constexpr std::size_t kBlockLeft = 192;
constexpr std::size_t kBlockRight = 1024;

void pack(const Matrix& from, std::size_t k, std::size_t depth, std::size_t begin, std::size_t count,
          std::size_t width, Panel& out) {
  pack_strips({.from = from.values.data() + k * from.columns + begin,
               .stride = from.columns,
               .depth = depth,
               .columns = count,
               .width = width,
               .strip_size = depth * width},
              out.data());
}

}  // namespace

Matrix transpose(const Matrix& a) {
  constexpr std::size_t kBlock = 32;
  Matrix t(a.columns, a.rows);
  for (std::size_t r = 0; r < a.rows; r += kBlock) {
    for (std::size_t c = 0; c < a.columns; c += kBlock) {
      for (std::size_t i = r; i < std::min(a.rows, r + kBlock); ++i) {
        for (std::size_t j = c; j < std::min(a.columns, c + kBlock); ++j) {
          t.values[j * a.rows + i] = a.values[i * a.columns + j];
        }
      }
    }
  }
  return t;
}

Matrix multiply_transposed(const Matrix& a, const Matrix& b, CpuPath path) {
  PINION_ASSERT(a.rows == b.rows && has_cpu_path(path));
  Matrix c(a.columns, b.columns);
  if (c.empty() || a.rows == 0) return c;
  const ProductPath& product = product_path(path);
  // Tiles are whole, so the product is collected with padding.
  const std::size_t stride = product.right_strips(c.columns) * product.right_width;
  Panel padded(product.left_strips(c.rows) * product.left_width * stride);
  const auto room = [](std::size_t columns, std::size_t width) {
    return kProductDepth * ((columns + width - 1) / width * width);
  };
  Panel left(room(std::min(kBlockLeft, c.rows), product.left_width));
  Panel right(room(std::min(kBlockRight, c.columns), product.right_width));
  for (std::size_t n = 0; n < c.columns; n += kBlockRight) {
    const std::size_t columns = std::min(kBlockRight, c.columns - n);
    for (std::size_t k = 0; k < a.rows; k += kProductDepth) {
      const std::size_t depth = std::min(kProductDepth, a.rows - k);
      pack(b, k, depth, n, columns, product.right_width, right);
      for (std::size_t m = 0; m < c.rows; m += kBlockLeft) {
        const std::size_t rows = std::min(kBlockLeft, c.rows - m);
        pack(a, k, depth, m, rows, product.left_width, left);
        product.add({.left = left.data(),
                     .right = right.data(),
                     .depth = depth,
                     .left_strips = product.left_strips(rows),
                     .right_strips = product.right_strips(columns),
                     .out = padded.data() + m * stride + n,
                     .stride = stride});
      }
    }
  }
  for (std::size_t r = 0; r < c.rows; ++r)
    std::copy_n(padded.data() + r * stride, c.columns, c.row(r).data());
  return c;
}

float dot(std::span<const float> a, std::span<const float> b) {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= a.size(); i += 4) {
    for (std::size_t j = 0; j < 4; ++j) sums[j] += static_cast<double>(a[i + j]) * b[i + j];
  }
  for (; i < a.size(); ++i) sums[i % 4] += static_cast<double>(a[i]) * b[i];
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

double energy(std::span<const float> values) {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= values.size(); i += 4) {
    for (std::size_t j = 0; j < 4; ++j) sums[j] += static_cast<double>(values[i + j]) * values[i + j];
  }
  for (; i < values.size(); ++i) sums[0] += static_cast<double>(values[i]) * values[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace pinion::codec
