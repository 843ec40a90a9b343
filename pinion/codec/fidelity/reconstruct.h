#pragma once
// From the integer state back to a tensor (docs/format.md §6.5), the fast way.
// Thread-safe.

#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/fidelity/fidelity_format.h"

namespace pinion::codec {

struct Reconstruction {
  const FrameState& state;
  std::size_t rows = 0;
  float step = 0;
  const Basis* basis = nullptr;  // null: components are channels
};

// `shape` has as many channels as the state has means.
Tensor reconstruct(const Reconstruction& from, DType dtype, const Shape& shape);

// Rounds to the tensor's type; values beyond its range become its largest
// finite value, what is not a number 0. `values` has the shape's elements.
Tensor to_tensor(const Matrix& values, DType dtype, const Shape& shape);

}  // namespace pinion::codec
