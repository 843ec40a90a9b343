#pragma once
// The encoder's rows by bands, and the scales that a calibration makes expect (docs/format.md §12.3, §12.6).

#include "pinion/codec/cuda/calibrated_jobs.h"

namespace pinion::codec::cuda {

inline constexpr int kBandGrowth = 96;  // of the step from a band to the next, in 64ths of an octave

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

// Calls visit(band, rows) for each band, by all threads of a block alike.
template <class Visit>
__device__ void for_each_band(const CalibratedEncodeJob& job, const Visit& visit) {
  if (job.order == nullptr) {
    visit(0u, BandRows{0, job.predict.rows, static_cast<double>(job.predict.rows), nullptr, nullptr});
    return;
  }
  std::uint32_t begin = 0;
  const std::uint32_t bands = job.order->bands;
  for (std::uint32_t band = 0; band < bands; ++band) {
    const std::uint32_t end = job.order->ends[band];
    visit(band, BandRows{begin, end, job.order->weights[band], job.row_at, job.row_weights});
    begin = end;
  }
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
__device__ inline int first_band_scale(std::uint32_t band) {
  return -min(4 * static_cast<int>(band) * kBandGrowth / 64, 31);
}

}  // namespace pinion::codec::cuda
