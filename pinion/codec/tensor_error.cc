#include "pinion/codec/tensor_error.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kErrorRows = 64;  // that are one piece of work
constexpr double kNothing = 1e-12;  // of the original's energy: what sums in double precision leave of none

// Sums over rows, and what they come to. `means` are those of the original's channels.
class ErrorSums {
 public:
  explicit ErrorSums(std::span<const double> means) : means_(means), other_sums_(means.size()) {}

  // Rows that were added elsewhere, about the same means.
  void add(const ErrorSums& other) {
    sums_.signal += other.sums_.signal;
    sums_.other += other.sums_.other;
    sums_.cross += other.sums_.cross;
    sums_.error += other.sums_.error;
    sums_.largest = std::max(sums_.largest, other.sums_.largest);
    for (std::size_t c = 0; c < other_sums_.size(); ++c) other_sums_[c] += other.other_sums_[c];
    rows_ += other.rows_;
  }

  void add_row(const float* original, const float* decoded) {
    vector_loops().measure(original, decoded, means_.data(), means_.size(), sums_, other_sums_.data());
    ++rows_;
  }

  void finish(FrameStats& stats) const {
    stats.max_error = sums_.largest;
    if (sums_.error == 0) {
      stats.snr_db = std::numeric_limits<double>::infinity();
      stats.cosine = 1;
      return;
    }
    double other = sums_.other;  // about its own means
    for (const double sum : other_sums_) other -= sum * sum / static_cast<double>(rows_);
    stats.snr_db = 10 * std::log10(sums_.signal / sums_.error);
    // The original's deviations sum to zero, so the other's means do not show in the product.
    stats.cosine = other > kNothing * sums_.signal ? sums_.cross / std::sqrt(sums_.signal * other) : 0;
  }

 private:
  std::span<const double> means_;
  std::vector<double> other_sums_;  // of each channel, about the original's mean
  RowSums sums_;
  std::size_t rows_ = 0;
};

FrameStats sizes_of(const TensorView& decoded) {
  FrameStats stats;
  stats.elements = decoded.elements();
  stats.tensor_bytes = decoded.bytes();
  return stats;
}

}  // namespace

FrameStats measure(const CentredTensor& original, const TensorView& decoded, ChunkPool& pool) {
  const Matrix& values = original.values;
  FrameStats stats = sizes_of(decoded);
  const std::size_t row_bytes = decoded.bytes() / values.rows;
  std::vector<ErrorSums> parts((values.rows + kErrorRows - 1) / kErrorRows, ErrorSums(original.means));
  pool.run(parts.size(), [&](std::size_t i, std::size_t) {
    std::vector<float> row(values.columns);
    for (std::size_t r = i * kErrorRows; r < std::min(values.rows, (i + 1) * kErrorRows); ++r) {
      to_float(decoded.data + r * row_bytes, decoded.dtype, static_cast<std::int64_t>(values.columns),
               row.data());
      parts[i].add_row(values.row(r).data(), row.data());
    }
  });
  ErrorSums sums(original.means);
  for (const ErrorSums& part : parts) sums.add(part);
  sums.finish(stats);
  return stats;
}

FrameStats measure(const TensorView& original, const TensorView& decoded) {
  const auto rows = static_cast<std::size_t>(rows_of(original.shape));
  const auto channels = static_cast<std::size_t>(channels_of(original.shape));
  const std::size_t row_bytes = channels * size_bytes(original.dtype);
  std::vector<float> row(channels), other(channels);
  const auto load_row = [&](std::size_t r) {
    to_float(original.data + r * row_bytes, original.dtype, static_cast<std::int64_t>(channels), row.data());
  };
  std::vector<double> means(channels);
  for (std::size_t r = 0; r < rows; ++r) {
    load_row(r);
    for (std::size_t c = 0; c < channels; ++c) means[c] += std::isfinite(row[c]) ? row[c] : 0.0f;
  }
  for (double& mean : means) mean /= static_cast<double>(rows);
  FrameStats stats = sizes_of(decoded);
  ErrorSums sums(means);
  for (std::size_t r = 0; r < rows; ++r) {
    load_row(r);
    to_float(decoded.data + r * row_bytes, decoded.dtype, static_cast<std::int64_t>(channels), other.data());
    for (std::size_t c = 0; c < channels; ++c) {
      other[c] = std::isfinite(row[c]) ? other[c] : 0.0f;
      row[c] = std::isfinite(row[c]) ? row[c] : 0.0f;
    }
    sums.add_row(row.data(), other.data());
  }
  sums.finish(stats);
  return stats;
}

}  // namespace pinion::codec
