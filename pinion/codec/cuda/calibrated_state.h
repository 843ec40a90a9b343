#pragma once
// What a calibrated stream keeps on a device from frame to frame: y and the band of each row, twice, so that
// a frame that fails leaves them as they were. Used by one thread at a time.

#include <optional>

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec::cuda {

// Columns of matrices of components lie that far apart.
inline std::uint32_t pitch_of(std::size_t rows) { return static_cast<std::uint32_t>((rows + 31) / 32 * 32); }

class CalibratedStateOnDevice {
 public:
  Result<void> reserve(std::size_t components, std::size_t max_rows) {
    components_ = components;
    y_bytes_ = components * pitch_of(max_rows) * sizeof(float);
    band_bytes_ = pitch_of(max_rows);
    return memory_.reserve(2 * (y_bytes_ + band_bytes_));
  }

  // Of the last frame; not there if it had no elements or none came.
  bool is_there() const { return checksum_.has_value(); }
  std::optional<std::uint32_t> checksum() const { return checksum_; }
  std::size_t rows() const { return rows_; }
  const float* y() const { return y_at(current_); }
  const std::uint8_t* bands() const { return bands_at(current_); }

  float* next_y() const { return y_at(1 - current_); }
  std::uint8_t* next_bands() const { return bands_at(1 - current_); }

  void forget() { checksum_.reset(); }
  // What was written to next_y() and next_bands() is the state.
  void take_next(std::uint32_t checksum, std::size_t rows) {
    current_ = 1 - current_;
    checksum_ = checksum;
    rows_ = rows;
  }

  Result<Matrix> copy(cudaStream_t stream) const {
    if (!is_there()) return Matrix();
    Matrix y(components_, rows_);
    PINION_TRY_VOID(check(
        cudaMemcpy2DAsync(y.values.data(), rows_ * sizeof(float), this->y(), pitch_of(rows_) * sizeof(float),
                          rows_ * sizeof(float), components_, cudaMemcpyDeviceToHost, stream),
        "cannot copy the state"));
    PINION_TRY_VOID(check(cudaStreamSynchronize(stream), "cannot copy the state"));
    return y;
  }

 private:
  float* y_at(std::size_t i) const { return reinterpret_cast<float*>(memory_.data() + i * y_bytes_); }
  std::uint8_t* bands_at(std::size_t i) const {
    return reinterpret_cast<std::uint8_t*>(memory_.data() + 2 * y_bytes_ + i * band_bytes_);
  }

  DeviceMemory memory_;
  std::size_t components_ = 0, y_bytes_ = 0, band_bytes_ = 0, rows_ = 0, current_ = 0;
  std::optional<std::uint32_t> checksum_;
};

}  // namespace pinion::codec::cuda
