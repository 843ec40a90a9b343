#include "pinion/codec/centred_tensor.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/vector_loops.h"

namespace pinion::codec {
namespace {

Matrix centred_transposed(const Matrix& values, const std::vector<double>& means) {
  constexpr std::size_t kTile = 16;  // whole cache lines both ways
  Matrix out(values.columns, values.rows);
  const std::vector<float> offsets(means.begin(), means.end());
  std::array<float, kTile * kTile> tile;
  for (std::size_t begin = 0; begin < values.rows; begin += kTile) {
    const std::size_t height = std::min(kTile, values.rows - begin);
    for (std::size_t first = 0; first < values.columns; first += kTile) {
      const std::size_t width = std::min(kTile, values.columns - first);
      for (std::size_t i = 0; i < height; ++i) {
        const float* source = values.row(begin + i).data() + first;
        for (std::size_t c = 0; c < width; ++c) tile[c * kTile + i] = source[c] - offsets[first + c];
      }
      for (std::size_t c = 0; c < width; ++c) {
        std::copy_n(tile.data() + c * kTile, height, out.row(first + c).data() + begin);
      }
    }
  }
  return out;
}

}  // namespace

Result<CentredTensor> centre(const TensorView& tensor) {
  const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape));
  CentredTensor centred;
  centred.values = Matrix(rows, channels);
  to_float(tensor.data, tensor.dtype, tensor.elements(), centred.values.values.data());
  centred.means.resize(channels);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = centred.values.row(r);
    for (std::size_t c = 0; c < channels; ++c) centred.means[c] += row[c];
  }
  for (double& mean : centred.means) {
    // A NaN or an infinity anywhere in a channel ends up in its mean.
    if (!std::isfinite(mean)) {
      return Error{Errc::kInvalidArgument,
                   "the tensor holds NaN or infinity, which fidelity mode cannot code",
                   "use lossless for it"};
    }
    mean /= static_cast<double>(rows);
  }
  double total = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    total += vector_loops().distance(centred.values.row(r).data(), centred.means.data(), channels);
  }
  centred.energy = total / static_cast<double>(rows);
  centred.transposed = std::make_shared<const Matrix>(centred_transposed(centred.values, centred.means));
  return centred;
}

}  // namespace pinion::codec
