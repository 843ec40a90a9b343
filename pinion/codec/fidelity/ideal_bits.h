#pragma once
// The yardstick of the entropy coder: what the indices of a frame would take
// with perfect static tables.

#include "pinion/codec/fidelity/frame_quantiser.h"

namespace pinion::codec {

// Entropy of what the tables code (means included), each class under the
// histogram of its own values, and the plain bits of wide classes.
double ideal_bits(const QuantisedFrame& frame);

}  // namespace pinion::codec
