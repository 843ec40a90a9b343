#include "pinion/codec/fidelity/reconstruct.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/math/vector_loops.h"

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
  const std::size_t rows = from.rows;
  const std::size_t components = rows == 0 ? 0 : from.state.components.size() / rows;
  const std::size_t whole_rows = rows - rows % kTurned;
  const std::size_t whole_components = components - components % kTurned;
  const std::int32_t* const state = from.state.components.data();
  const VectorLoops& loops = vector_loops();
  Matrix out(rows, columns);
  for (std::size_t r = 0; r < whole_rows; r += kTurned) {
    for (std::size_t k = 0; k < whole_components; k += kTurned) {
      loops.turn_scaled(state + k * rows + r, rows, unit, out.row(r).data() + k, columns);
    }
  }
  const auto one_by_one = [&](std::size_t first_row, std::size_t first, std::size_t end) {
    for (std::size_t k = first; k < end; ++k) {
      for (std::size_t r = first_row; r < rows; ++r) {
        out.row(r)[k] = static_cast<float>(state[k * rows + r]) * unit;
      }
    }
  };
  one_by_one(whole_rows, 0, whole_components);
  one_by_one(0, whole_components, components);
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
  for (std::size_t r = 0; r < values.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < channels; ++c) row[c] += means[c];
  }
  return to_tensor(values, dtype, shape);
}

Tensor to_tensor(const Matrix& values, DType dtype, const Shape& shape) {
  const float limit = largest_finite(dtype);
  Tensor tensor = Tensor::empty(dtype, shape);
  std::vector<float> bounded(values.columns);
  for (std::size_t r = 0; r < values.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) {
      const float value = row[c];
      bounded[c] = value > limit ? limit : value < -limit ? -limit : value == value ? value : 0.0f;
    }
    from_float(bounded.data(), static_cast<std::int64_t>(row.size()), dtype,
               tensor.mutable_data() + r * row.size() * size_bytes(dtype));
  }
  return tensor;
}

}  // namespace pinion::codec
