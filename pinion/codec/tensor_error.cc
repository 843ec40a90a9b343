#include "pinion/codec/tensor_error.h"

#include <cmath>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr double kNothing = 1e-12;  // of the original's energy: what sums in double precision leave of none

}  // namespace

FrameStats measure(const CentredTensor& original, const TensorView& decoded) {
  const Matrix& values = original.values;
  FrameStats stats;
  stats.elements = decoded.elements();
  stats.tensor_bytes = decoded.bytes();
  RowSums sums;
  std::vector<double> other_sums(values.columns);  // of each channel, about the original's mean
  std::vector<float> row(values.columns);
  const std::size_t row_bytes = decoded.bytes() / values.rows;
  for (std::size_t r = 0; r < values.rows; ++r) {
    to_float(decoded.data + r * row_bytes, decoded.dtype, static_cast<std::int64_t>(values.columns),
             row.data());
    vector_loops().measure(values.row(r).data(), row.data(), original.means.data(), values.columns, sums,
                           other_sums.data());
  }
  stats.max_error = sums.largest;
  if (sums.error == 0) {
    stats.snr_db = std::numeric_limits<double>::infinity();
    stats.cosine = 1;
    return stats;
  }
  double other = sums.other;  // about its own means
  for (const double sum : other_sums) other -= sum * sum / static_cast<double>(values.rows);
  stats.snr_db = 10 * std::log10(sums.signal / sums.error);
  // The original's deviations sum to zero, so the other's means do not show in the product.
  stats.cosine = other > kNothing * sums.signal ? sums.cross / std::sqrt(sums.signal * other) : 0;
  return stats;
}

}  // namespace pinion::codec
