#pragma once
// Packing 2 of docs/planes.md §3: components with one common step, one grey plane a picture. Pure functions.

#include <vector>

#include "pinion/codec/math/matrix.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::codec {

struct ComponentPacking {
  TokenGrid grid;
  float step = 0;  // is_step()
};

// Finite and above 0.
bool is_step(float step);

// Whether every level with that offset stands for a finite float32.
bool is_offset(std::int32_t offset, float step);

// What did not fit into 8 bits.
struct Clipping {
  std::size_t values = 0;
  double largest_excess = 0;  // how far a clipped component value lies outside its levels, beyond half a step
};

struct ComponentPictures {
  Tensor pictures;                    // uint8 [pictures, 1, height, width]
  std::vector<std::int32_t> offsets;  // one a component, in steps
  Clipping clipping;
};

// Packs a float tensor [tokens, channels] in host memory.
// `basis`: empty, or K ≤ channels rows of `channels` numbers, orthonormal (the caller's promise).
// `offsets`: empty, and they are chosen so that nothing is clipped where no component spans more than 254
// steps; or those of the step that this one is to be predicted from.
// kInvalidArgument if the tensor has a NaN or an infinity, if the arguments do not go together, or if the
// step is too fine for 32-bit offsets.
Result<ComponentPictures> pack_components(const TensorView& tensor, const Matrix& basis,
                                          std::span<const std::int32_t> offsets,
                                          const ComponentPacking& packing);

// The tensor, float32 [tokens, channels]: unclipped components within half a step of what was packed (and
// the rounding to float32), if the pictures are as packed; without a basis these are the elements. `basis` as
// given to pack_components(). kBadFormat if step or offsets cannot be, or the pictures have another shape.
Result<Tensor> unpack_components(const TensorView& pictures, const Matrix& basis,
                                 std::span<const std::int32_t> offsets, const ComponentPacking& packing);

}  // namespace pinion::codec
