#pragma once
// From the integer state back to a tensor (docs/format.md §6.5), the fast way.
// Thread-safe.

#include "pinion/codec/basis.h"
#include "pinion/codec/fidelity_format.h"

namespace pinion::codec {

// Rows of channels in float32. `basis` is null where components are channels.
Matrix reconstruct(const StreamState& state, float step, const Basis* basis);

// Rounds to the tensor's type; values beyond its range become its largest
// finite value.
Tensor to_tensor(const Matrix& values, DType dtype, const Shape& shape);

}  // namespace pinion::codec
