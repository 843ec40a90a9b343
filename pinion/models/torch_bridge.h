#pragma once
// Between our Tensor and libtorch's, without copying. Only files in pinion/models include this.

#include <ATen/ATen.h>

#include "pinion/base/tensor.h"

namespace pinion::models {

at::ScalarType to_torch(DType dtype);
DType from_torch(at::ScalarType type);  // asserts on types we do not carry
at::Device to_torch(Device device);

// A torch tensor over the same memory; it keeps `tensor`'s storage alive. The memory must not be written.
at::Tensor to_torch(const Tensor& tensor);

// Our handle on a torch tensor (made contiguous if it is not); keeps it alive.
Tensor from_torch(const at::Tensor& tensor);

}  // namespace pinion::models
