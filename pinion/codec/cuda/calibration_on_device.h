#pragma once
// A calibration as kernels take it: matrices turned, scaled and split into parts, and the tables by which
// encoders price classes. Immutable once made; used by any number of threads and streams.

#include "pinion/codec/cuda/calibrated_kernels.h"
#include "pinion/codec/cuda/device_calibrated_codec.h"
#include "pinion/codec/cuda/device_session.h"
#include "pinion/codec/cuda/index_tables_on_device.h"

namespace pinion::codec::cuda {

class CalibrationOnDevice : public DeviceCalibration {
 public:
  CalibrationOnDevice(std::shared_ptr<const Calibration> calibration, int device)
      : calibration_(std::move(calibration)), device_(device) {}

  Result<void> make();

  const Calibration& calibration() const { return *calibration_; }
  int device() const { return device_; }
  const CalibrationArrays& arrays() const { return arrays_; }
  const CalibratedTables& tables() const { return tables_; }
  IndexCodingTables coding() const { return coding_.tables(); }
  const ProductDevice& product_device() const { return product_device_; }
  CrcTables crc() const { return crc_.tables(); }
  // Of the host, the same as tables().steps.
  float step(int step_log2) const { return steps_[static_cast<std::size_t>(step_log2 - kLeastStep)]; }

  // Places and records of a position.
  RecordPair records_at(std::uint16_t position) const;

 private:
  std::shared_ptr<const Calibration> calibration_;
  int device_;
  DeviceMemory memory_, table_memory_;
  IndexTablesOnDevice coding_;
  ChecksumTables crc_;
  CalibrationArrays arrays_;
  CalibratedTables tables_;
  ProductDevice product_device_;
  std::vector<float> steps_;
};

// The one that DeviceCalibration::upload() made.
inline const CalibrationOnDevice& on_device(const DeviceCalibration& calibration) {
  return static_cast<const CalibrationOnDevice&>(calibration);
}

}  // namespace pinion::codec::cuda
