#pragma once
// Between our Tensor and libtorch's, without copying, and from its exceptions to our Errors. Only files in
// pinion/models include this. All functions are thread-safe.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <concepts>
#include <exception>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"

namespace pinion::models {

at::ScalarType to_torch(DType dtype);
DType from_torch(at::ScalarType type);  // asserts on types we do not carry
at::Device to_torch(Device device);
Device from_torch(at::Device device);

// A torch tensor over the same memory; it keeps `tensor`'s storage alive. The memory must not be written.
at::Tensor to_torch(const Tensor& tensor);

// Our handle on a torch tensor (made contiguous if it is not); keeps it alive.
Tensor from_torch(const at::Tensor& tensor);

// kOutOfMemory for exhausted host or device memory, kInternal with libtorch's own words for all else.
Error error_from_exception(const std::exception& exception);

// Runs `body` (which returns a Result) and turns what libtorch throws into an Error.
template <std::invocable Body>
std::invoke_result_t<Body> caught(Body&& body) {
  try {
    return body();
  } catch (const std::exception& exception) {
    return error_from_exception(exception);
  }
}

// kUnsupported or kInvalidArgument when libtorch cannot use that device.
Result<void> check_device(Device device);

}  // namespace pinion::models
