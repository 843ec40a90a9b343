#include "pinion/codec/reconstruct.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"

namespace pinion::codec {
namespace {

float largest_finite(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 65504.0f;
    case DType::kBF16:
      return bf16_to_float(0x7f7f);
    default:
      return std::numeric_limits<float>::max();
  }
}

// Row r of the components times `unit`, in the first columns of row r.
Matrix transposed_components(const Reconstruction& from, std::size_t columns, float unit) {
  constexpr std::size_t kTile = 16;  // whole cache lines both ways
  const std::size_t components = from.rows == 0 ? 0 : from.state.components.size() / from.rows;
  Matrix out(from.rows, columns);
  std::array<float, kTile * kTile> tile;
  for (std::size_t begin = 0; begin < from.rows; begin += kTile) {
    const std::size_t height = std::min(kTile, from.rows - begin);
    for (std::size_t first = 0; first < components; first += kTile) {
      const std::size_t width = std::min(kTile, components - first);
      for (std::size_t k = 0; k < width; ++k) {
        const std::int32_t* source = from.state.components.data() + (first + k) * from.rows + begin;
        for (std::size_t i = 0; i < height; ++i) tile[i * kTile + k] = static_cast<float>(source[i]) * unit;
      }
      for (std::size_t i = 0; i < height; ++i) {
        std::copy_n(tile.data() + i * kTile, width, out.row(begin + i).data() + first);
      }
    }
  }
  return out;
}

Matrix in_basis(const Reconstruction& from, const Basis& basis, float unit) {
  const std::size_t components = from.rows == 0 ? 0 : from.state.components.size() / from.rows;
  if (components == 0) return Matrix(from.rows, from.state.means.size());
  Matrix scaled(components, from.rows);
  std::transform(from.state.components.begin(), from.state.components.end(), scaled.values.begin(),
                 [unit](std::int32_t s) { return static_cast<float>(s) * unit; });
  Matrix directions(components, basis.rows.columns);
  std::copy_n(basis.rows.values.begin(), directions.values.size(), directions.values.begin());
  return multiply_transposed(scaled, directions);
}

}  // namespace

Tensor reconstruct(const Reconstruction& from, DType dtype, const Shape& shape) {
  const float unit = from.step / kStateOne;
  const std::size_t channels = from.state.means.size();
  Matrix values =
      from.basis != nullptr ? in_basis(from, *from.basis, unit) : transposed_components(from, channels, unit);
  const float mean_unit = std::ldexp(unit, -from.state.mean_shift);
  std::vector<float> means(channels);
  std::transform(from.state.means.begin(), from.state.means.end(), means.begin(),
                 [mean_unit](std::int32_t m) { return static_cast<float>(m) * mean_unit; });
  const float limit = largest_finite(dtype);
  Tensor tensor = Tensor::empty(dtype, shape);
  const std::size_t row_bytes = channels * size_bytes(dtype);
  for (std::size_t r = 0; r < from.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < channels; ++c) {
      const float value = row[c] + means[c];
      // Not a number becomes 0.
      row[c] = value > limit ? limit : value < -limit ? -limit : value == value ? value : 0.0f;
    }
    from_float(row.data(), static_cast<std::int64_t>(channels), dtype, tensor.mutable_data() + r * row_bytes);
  }
  return tensor;
}

}  // namespace pinion::codec
