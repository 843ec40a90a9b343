#pragma once
// From the integer state back to a tensor (docs/format.md §6.5), the fast way.
// Thread-safe.

#include "pinion/codec/chunk_pool.h"
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
// Threads of the pool share the rows.
Tensor reconstruct(const Reconstruction& from, DType dtype, const Shape& shape, ChunkPool& pool);

// Rounds to the tensor's type; values beyond its range become its largest
// finite value, what is not a number 0. `values` are changed.
void write_bounded(std::span<float> values, DType dtype, std::byte* out);

}  // namespace pinion::codec
