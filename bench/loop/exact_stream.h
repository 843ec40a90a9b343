#pragma once
// Tensors that cross as they are, counted at so many bytes an element.

#include "bench/loop/state_coder.h"

namespace pinion::bench {

class ExactStream : public StreamCoder {
 public:
  explicit ExactStream(double element_bytes) : element_bytes_(element_bytes) {}

  Result<PassedTensor> pass(const Tensor& tensor, const codec::StepContext&) override {
    return PassedTensor{.received = tensor,
                        .frame_bytes = element_bytes_ * static_cast<double>(tensor.elements())};
  }

 private:
  double element_bytes_;
};

// Bytes of an element where others send bfloat16 or float16.
inline constexpr double kHalfBytes = 2;

}  // namespace pinion::bench
