#pragma once
// Tensors that lossy modes can code, of those that they refuse.

#include <cstdint>

#include "pinion/base/tensor.h"

namespace pinion::codec {

struct FiniteTensor {
  Tensor tensor;
  std::int64_t changed = 0;  // elements
};

// NaN becomes 0 and an infinity the largest finite value of its sign and type; all else stays as it is. The
// tensor is on the CPU, of any type; if there is nothing to change the result shares its storage. Pure.
FiniteTensor make_finite(const Tensor& tensor);

}  // namespace pinion::codec
