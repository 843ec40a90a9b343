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

}  // namespace

Matrix reconstruct(const StreamState& state, float step, const Basis* basis) {
  const std::size_t components = state.rows == 0 ? 0 : state.last.components.size() / state.rows;
  const float unit = step / kStateOne;
  Matrix scaled(components, state.rows);
  std::transform(state.last.components.begin(), state.last.components.end(), scaled.values.begin(),
                 [unit](std::int32_t s) { return static_cast<float>(s) * unit; });
  Matrix values(state.rows, state.channels);
  if (basis != nullptr && components > 0) {
    Matrix directions(components, state.channels);
    std::copy_n(basis->rows.values.begin(), directions.values.size(), directions.values.begin());
    values = multiply_transposed(scaled, directions);
  } else {
    for (std::size_t k = 0; k < components; ++k) {
      for (std::size_t r = 0; r < state.rows; ++r) values.row(r)[k] = scaled.row(k)[r];
    }
  }
  const float mean_unit = std::ldexp(unit, -state.last.mean_shift);
  std::vector<float> means(state.channels);
  std::transform(state.last.means.begin(), state.last.means.end(), means.begin(),
                 [mean_unit](std::int32_t m) { return static_cast<float>(m) * mean_unit; });
  for (std::size_t r = 0; r < state.rows; ++r) {
    const auto row = values.row(r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] += means[c];
  }
  return values;
}

Tensor to_tensor(const Matrix& values, DType dtype, const Shape& shape) {
  const float limit = largest_finite(dtype);
  std::vector<float> bounded(values.values.size());
  std::transform(values.values.begin(), values.values.end(), bounded.begin(),
                 [limit](float v) { return std::isnan(v) ? 0.0f : std::clamp(v, -limit, limit); });
  Tensor tensor = Tensor::empty(dtype, shape);
  from_float(bounded.data(), static_cast<std::int64_t>(bounded.size()), dtype, tensor.mutable_data());
  return tensor;
}

}  // namespace pinion::codec
