#pragma once
// How far a decoded tensor is from the original. Pure function.

#include "pinion/codec/centred_tensor.h"
#include "pinion/codec/codec.h"

namespace pinion::codec {

// Fills tensor size, SNR, cosine and largest error as FrameStats defines them. Equal shapes; both on the CPU
// and of float types. Threads of the pool share the rows.
FrameStats measure(const CentredTensor& original, const TensorView& decoded, ChunkPool& pool);

// The same, where elements that are not finite in the original count as 0 in both.
FrameStats measure(const TensorView& original, const TensorView& decoded);

}  // namespace pinion::codec
