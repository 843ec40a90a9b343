#include "pinion/codec/centred_tensor.h"

#include <algorithm>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBlockRows = 64;  // that are one piece of work

// Rows [begin, end) of `values` less the offsets, in the columns [begin, end) of `out`.
void turn_centred(const Matrix& values, std::span<const float> offsets, std::size_t begin, std::size_t end,
                  Matrix& out) {
  const std::size_t whole_end = begin + (end - begin) / kTurned * kTurned;
  const std::size_t whole_columns = values.columns - values.columns % kTurned;
  const VectorLoops& loops = vector_loops();
  for (std::size_t c = 0; c < whole_columns; c += kTurned) {
    for (std::size_t r = begin; r < whole_end; r += kTurned) {
      loops.turn_centred(values.row(r).data() + c, values.columns, offsets.data() + c, out.row(c).data() + r,
                         values.rows);
    }
  }
  const auto one_by_one = [&](std::size_t first_row, std::size_t first_column, std::size_t end_column) {
    for (std::size_t r = first_row; r < end; ++r) {
      for (std::size_t c = first_column; c < end_column; ++c) out.row(c)[r] = values.row(r)[c] - offsets[c];
    }
  };
  one_by_one(whole_end, 0, whole_columns);
  one_by_one(begin, whole_columns, values.columns);
}

}  // namespace

Result<void> centre(const TensorView& tensor, ChunkPool& pool, CentredTensor& centred) {
  const auto rows = static_cast<std::size_t>(rows_of(tensor.shape));
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape));
  const std::size_t row_bytes = channels * size_bytes(tensor.dtype);
  const std::size_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const auto for_blocks = [&](const auto& work) {
    pool.run(blocks, [&](std::size_t i, std::size_t) {
      work(i, i * kBlockRows, std::min(rows, (i + 1) * kBlockRows));
    });
  };
  centred.values.resize(rows, channels);
  std::vector<double> sums(blocks * channels);  // [block, channel]
  for_blocks([&](std::size_t block, std::size_t begin, std::size_t end) {
    to_float(tensor.data + begin * row_bytes, tensor.dtype,
             static_cast<std::int64_t>((end - begin) * channels), centred.values.row(begin).data());
    double* const sum = sums.data() + block * channels;
    for (std::size_t r = begin; r < end; ++r) {
      const float* const row = centred.values.row(r).data();
      for (std::size_t c = 0; c < channels; ++c) sum[c] += static_cast<double>(row[c]);
    }
  });
  centred.means.assign(channels, 0);
  for (std::size_t block = 0; block < blocks; ++block) {
    for (std::size_t c = 0; c < channels; ++c) centred.means[c] += sums[block * channels + c];
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
  const std::vector<float> offsets(centred.means.begin(), centred.means.end());
  if (centred.transposed == nullptr || centred.transposed.use_count() > 1) {
    centred.transposed = std::make_shared<Matrix>();
  }
  Matrix& transposed = *centred.transposed;
  transposed.resize(channels, rows);
  std::vector<double> lengths(rows);
  for_blocks([&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      lengths[r] = vector_loops().distance(centred.values.row(r).data(), centred.means.data(), channels);
    }
    turn_centred(centred.values, offsets, begin, end, transposed);
  });
  centred.energy = 0;
  for (const double length : lengths) centred.energy += length / static_cast<double>(rows);
  return {};
}

}  // namespace pinion::codec
