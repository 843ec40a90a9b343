#pragma once
// Canonical tensors from the file to a device, dequantised to the compute dtype. Thread-safe.

#include <ATen/ATen.h>

#include "pinion/models/checkpoint.h"
#include "pinion/models/stage.h"

namespace pinion::models {

// A fresh, aligned tensor on the device (never a view of the file, so that the same weights give the same
// bits whatever their place in a file). fp8 values are multiplied by their scale in float32 first.
Result<at::Tensor> load_tensor(const Checkpoint& checkpoint, const CanonicalTensor& tensor,
                               const StageOptions& options);

// The tensor as stored, on the CPU: a view of the file where it lies there in one piece, else a copy. All
// pieces must have one dtype (kUnsupported otherwise); scales are not applied.
Result<Tensor> stored_tensor(const Checkpoint& checkpoint, const CanonicalTensor& tensor);

}  // namespace pinion::models
