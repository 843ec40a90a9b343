#include "pinion/codec/tensor_error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "pinion/base/float_formats.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {

FrameStats measure(const TensorView& original, const TensorView& decoded) {
  FrameStats stats;
  stats.elements = original.elements();
  stats.tensor_bytes = original.bytes();
  const auto count = static_cast<std::size_t>(original.elements());
  const auto channels = static_cast<std::size_t>(channels_of(original.shape));
  std::vector<float> x(count), y(count);
  to_float(original.data, original.dtype, original.elements(), x.data());
  to_float(decoded.data, decoded.dtype, decoded.elements(), y.data());
  std::vector<double> means(channels);
  for (std::size_t i = 0; i < count; i += channels) {
    for (std::size_t c = 0; c < channels; ++c) means[c] += x[i + c];
  }
  for (double& mean : means) mean /= static_cast<double>(rows_of(original.shape));
  double signal = 0, other = 0, cross = 0, error = 0;
  for (std::size_t i = 0; i < count; i += channels) {
    for (std::size_t c = 0; c < channels; ++c) {
      const double a = x[i + c] - means[c];
      const double b = y[i + c] - means[c];
      signal += a * a;
      other += b * b;
      cross += a * b;
      error += (a - b) * (a - b);
      stats.max_error = std::max(stats.max_error, std::abs(a - b));
    }
  }
  stats.snr_db = error == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal / error);
  stats.cosine = error == 0 ? 1 : signal * other == 0 ? 0 : cross / std::sqrt(signal * other);
  return stats;
}

}  // namespace pinion::codec
