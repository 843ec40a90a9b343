#pragma once
// How far a decoded tensor is from the original. Pure function.

#include "pinion/codec/codec.h"

namespace pinion::codec {

// Fills tensor size, SNR, cosine and largest error. SNR is the centred energy
// of `original` (each channel's mean removed) over the energy of the
// difference; the cosine is between both, each minus the original's means.
// Equal shapes; both on the CPU and of float types.
FrameStats measure(const TensorView& original, const TensorView& decoded);

}  // namespace pinion::codec
