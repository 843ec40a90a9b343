#include "pinion/codec/centred_tensor.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

Matrix centred_transposed(const Matrix& values, const std::vector<double>& means) {
  Matrix out(values.columns, values.rows);
  const std::vector<float> offsets(means.begin(), means.end());
  const std::size_t whole_rows = values.rows - values.rows % kTurned;
  const std::size_t whole_columns = values.columns - values.columns % kTurned;
  const VectorLoops& loops = vector_loops();
  for (std::size_t c = 0; c < whole_columns; c += kTurned) {
    for (std::size_t r = 0; r < whole_rows; r += kTurned) {
      loops.turn_centred(values.row(r).data() + c, values.columns, offsets.data() + c, out.row(c).data() + r,
                         values.rows);
    }
  }
  const auto one_by_one = [&](std::size_t first_row, std::size_t first_column, std::size_t end_column) {
    for (std::size_t r = first_row; r < values.rows; ++r) {
      for (std::size_t c = first_column; c < end_column; ++c) out.row(c)[r] = values.row(r)[c] - offsets[c];
    }
  };
  one_by_one(whole_rows, 0, whole_columns);
  one_by_one(0, whole_columns, values.columns);
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
