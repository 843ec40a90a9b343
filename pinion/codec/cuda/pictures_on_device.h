#pragma once
// The coded order of coefficients of tokens (docs/format.md §12.7) in the memory of a device, made when a
// grid comes. Used by one thread at a time.

#include <vector>

#include "pinion/codec/cuda/calibrated_encode_job.h"
#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/indices/row_bands.h"
#include "pinion/codec/math/grid_transform.h"

namespace pinion::codec::cuda {

// Where the coefficient that each row holds stands in coded order.
inline std::vector<std::uint32_t> places_of_rows(const RowBands& bands) {
  std::vector<std::uint32_t> places(bands.rows());
  for (std::size_t place = 0; place < places.size(); ++place)
    places[bands.row_at(place)] = static_cast<std::uint32_t>(place);
  return places;
}

class PicturesOnDevice {
 public:
  Result<void> reserve(std::size_t max_rows, std::size_t components) {
    Parts measured(nullptr);
    place(measured, max_rows, components);
    PINION_TRY_VOID(memory_.reserve(measured.used()));
    Parts parts(memory_.data());
    place(parts, max_rows, components);
    return {};
  }

  // Whole pictures. What is on the stream already may still use the last grid.
  Result<void> set(const TokenGrid& grid, std::size_t rows, cudaStream_t stream) {
    if (grid == grid_ && rows == rows_) return {};
    const RowBands bands(frequency_classes(grid, rows), kFrequencyClasses);
    const std::vector<std::uint32_t> places = places_of_rows(bands);
    RowOrder order;
    order.bands = kFrequencyClasses;
    for (std::size_t band = 0, begin = 0; band < bands.count(); begin = bands.ends()[band++]) {
      order.ends[band] = static_cast<std::uint32_t>(bands.ends()[band]);
      order.weights[band] = static_cast<double>(bands.ends()[band] - begin);
    }
    PINION_TRY_VOID(check(cudaMemcpyAsync(places_, places.data(), places.size() * sizeof(places[0]),
                                          cudaMemcpyHostToDevice, stream),
                          "cannot send a grid"));
    PINION_TRY_VOID(check(cudaMemcpyAsync(order_, &order, sizeof(order), cudaMemcpyHostToDevice, stream),
                          "cannot send a grid"));
    PINION_TRY_VOID(check(cudaStreamSynchronize(stream), "cannot send a grid"));
    grid_ = grid;
    rows_ = rows;
    return {};
  }

  TokenTiles tiles(const CalibratedTables& tables) const {
    return {static_cast<std::uint32_t>(grid_.lines), static_cast<std::uint32_t>(grid_.columns), places_,
            tables.cosines};
  }
  const RowOrder* order() const { return order_; }
  float* coefficients() const { return coefficients_; }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  void place(Parts& parts, std::size_t max_rows, std::size_t components) {
    const std::size_t pitch = (max_rows + 31) / 32 * 32;
    places_ = parts.take<std::uint32_t>(pitch);
    order_ = parts.take<RowOrder>(1);
    coefficients_ = parts.take<float>(components * pitch);
  }

  DeviceMemory memory_;
  TokenGrid grid_;
  std::size_t rows_ = 0;
  std::uint32_t* places_ = nullptr;
  RowOrder* order_ = nullptr;
  float* coefficients_ = nullptr;
};

}  // namespace pinion::codec::cuda
