#include "pinion/codec/fidelity/reconstruct.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/groups/group_loops.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBlockRows = 64;  // that are one piece of work

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

// Rows [begin, end) of the components times `unit`, one row after the other, `columns` apart;
// 0 where there are fewer components.
void turn_components(const Reconstruction& from, float unit, std::size_t begin, std::size_t end,
                     std::size_t columns, float* out) {
  const std::size_t rows = from.rows;
  const std::size_t components = from.state.components.size() / rows;
  const std::size_t whole_end = begin + (end - begin) / kTurned * kTurned;
  const std::size_t whole_components = components - components % kTurned;
  const std::int32_t* const state = from.state.components.data();
  const VectorLoops& loops = vector_loops();
  for (std::size_t k = 0; k < whole_components; k += kTurned) {
    for (std::size_t r = begin; r < whole_end; r += kTurned) {
      loops.turn_scaled(state + k * rows + r, rows, unit, out + (r - begin) * columns + k, columns);
    }
  }
  for (std::size_t r = begin; r < end; ++r) {
    std::fill(out + (r - begin) * columns + components, out + (r - begin + 1) * columns, 0.0f);
    for (std::size_t k = r < whole_end ? whole_components : 0; k < components; ++k) {
      out[(r - begin) * columns + k] = static_cast<float>(state[k * rows + r]) * unit;
    }
  }
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

Tensor reconstruct(const Reconstruction& from, DType dtype, const Shape& shape, ChunkPool& pool) {
  const float unit = from.step / kStateOne;
  const std::size_t channels = from.state.means.size();
  const float mean_unit = std::ldexp(unit, -from.state.mean_shift);
  std::vector<float> means(channels);
  std::transform(from.state.means.begin(), from.state.means.end(), means.begin(),
                 [mean_unit](std::int32_t m) { return static_cast<float>(m) * mean_unit; });
  Matrix product;
  if (from.basis != nullptr) product = in_basis(from, *from.basis, unit);
  Tensor tensor = Tensor::empty(dtype, shape);
  std::byte* const out = tensor.mutable_data();
  pool.run((from.rows + kBlockRows - 1) / kBlockRows, [&](std::size_t i, std::size_t) {
    const std::size_t begin = i * kBlockRows, end = std::min(from.rows, begin + kBlockRows);
    const auto block =
        std::make_unique_for_overwrite<float[]>(from.basis == nullptr ? (end - begin) * channels : 0);
    float* values = block.get();
    if (from.basis != nullptr) {
      values = product.row(begin).data();
    } else {
      turn_components(from, unit, begin, end, channels, values);
    }
    for (std::size_t r = begin; r < end; ++r, values += channels) {
      for (std::size_t c = 0; c < channels; ++c) values[c] += means[c];
      write_bounded({values, channels}, dtype, out + r * channels * size_bytes(dtype));
    }
  });
  return tensor;
}

void write_bounded(std::span<float> values, DType dtype, std::byte* out) {
  vector_loops().bound(values.data(), values.size(), largest_finite(dtype));
  if (dtype == DType::kBF16) {
    group_loops().narrow_bf16(values.data(), values.size(), reinterpret_cast<std::uint16_t*>(out));
    return;
  }
  from_float(values.data(), static_cast<std::int64_t>(values.size()), dtype, out);
}

}  // namespace pinion::codec
