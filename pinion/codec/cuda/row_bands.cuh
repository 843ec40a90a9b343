#pragma once
// The encoder's rows by bands, and the scales that a calibration makes expect (docs/format.md §12.3, §12.6).

#include "pinion/codec/cuda/calibrated_encode_job.h"

namespace pinion::codec::cuda {

// The rows of a band, in coded order.
struct BandRows {
  std::uint32_t begin, end;
  double weight;  // sum over the rows
  const std::uint32_t* rows;
  const double* weights;

  __device__ std::uint32_t row_at(std::uint32_t place) const { return rows == nullptr ? place : rows[place]; }
  __device__ double weight_of(std::uint32_t place) const { return weights == nullptr ? 1 : weights[place]; }
};

__device__ inline std::uint32_t bands_of(const CalibratedEncodeJob& job) {
  return job.order == nullptr ? 1 : job.order->bands;
}

__device__ inline double weight_sum(const CalibratedEncodeJob& job) {
  if (job.order == nullptr) return job.predict.rows;
  double sum = 0;
  for (std::uint32_t band = 0; band < job.order->bands; ++band) sum += job.order->weights[band];
  return sum;
}

// Values of a band at places `stride` from each other, on their way all at once; 0 past the end.
template <std::uint32_t kCount>
__device__ void load_places(const float* values, const BandRows& rows, std::uint32_t first,
                            std::uint32_t stride, float (&to)[kCount]) {
#pragma unroll
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const std::uint32_t place = first + i * stride;
    to[i] = place < rows.end ? __ldg(values + rows.row_at(place)) : 0;
  }
}

// Whether indices are those of coefficients.
__device__ inline bool is_transformed(const CalibratedEncodeJob& job) {
  return job.tiles.is_there() && job.order->bands > 1;
}

// What is quantised of a component, to be read at BandRows::row_at().
__device__ inline const float* values_of(const CalibratedEncodeJob& job, std::uint32_t k) {
  return (is_transformed(job) ? job.coefficients : job.residual) + std::size_t{k} * job.predict.pitch;
}

// Calls visit(band, rows) for each band of an order, by all threads of a block alike.
template <class Visit>
__device__ void for_each_band_of(const CalibratedEncodeJob& job, const RowOrder& order, const Visit& visit) {
  std::uint32_t begin = 0;
  const std::uint32_t bands = order.bands;
  for (std::uint32_t band = 0; band < bands; ++band) {
    const std::uint32_t end = order.ends[band];
    visit(band, BandRows{begin, end, order.weights[band], job.row_at, job.row_weights});
    begin = end;
  }
}

__device__ inline BandRows all_rows(const CalibratedEncodeJob& job) {
  return {0, job.predict.rows, static_cast<double>(job.predict.rows), nullptr, nullptr};
}

// The same of the order of this frame.
template <class Visit>
__device__ void for_each_band(const CalibratedEncodeJob& job, const Visit& visit) {
  if (job.order != nullptr) return for_each_band_of(job, *job.order, visit);
  visit(0u, all_rows(job));
}

// Of a component at this position, under the predictor in use.
__device__ inline int calibrated_level(const CalibratedEncodeJob& job, std::uint32_t k) {
  const CalibrationArrays& calibration = job.predict.calibration;
  const RecordPair records = job.predict.step->records;
  const std::uint8_t* const levels =
      job.predict.with_history ? calibration.history_levels : calibration.alone_levels;
  const int from = __ldg(levels + std::size_t{records.first} * calibration.components + k);
  const int to = __ldg(levels + std::size_t{records.second} * calibration.components + k);
  return (from * (256 - records.part) + to * records.part + 128) >> 8;
}

// Before it is bounded.
__device__ inline int calibrated_scale(int level, int step) {
  return (4 * (8 * (level - 128) - step) + 877) >> 6;
}

// What a coarser step alone makes of the scales.
__device__ inline int first_band_scale(const CalibratedEncodeJob& job, std::uint32_t band) {
  return -min(4 * static_cast<int>(band) * job.band_growth / 64, 31);
}

}  // namespace pinion::codec::cuda
