#pragma once
// A basis in the memory of a device as an encoder uses it. Immutable once made.

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/fidelity_encode_jobs.h"
#include "pinion/codec/fidelity/basis_fit.h"

namespace pinion::codec::cuda {

class BasisAnalysis {
 public:
  // On the current device. With one part, components are rounded as tensors of 8 bits of mantissa are.
  Result<void> make(std::shared_ptr<const BasisFit> fit, int parts);

  bool is_there() const { return fit_ != nullptr; }
  const BasisId& id() const { return fit_->basis->id; }
  std::size_t components() const { return fit_->basis->rows.rows; }
  std::size_t channels() const { return fit_->basis->rows.columns; }
  const AnalysisOnDevice& arrays() const { return arrays_; }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  std::shared_ptr<const BasisFit> fit_;
  DeviceMemory memory_;
  AnalysisOnDevice arrays_;
};

}  // namespace pinion::codec::cuda
