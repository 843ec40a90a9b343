#pragma once
// What Pinion sends, with each stream as `pinion generate --codec PROFILE` codes it: states by the profile,
// the velocity as docs/protocol.md, section 5, has it return. Every job begins without bases of earlier ones.

#include "bench/loop/state_coder.h"
#include "pinion/codec/calibrated/calibration_set.h"
#include "pinion/codec/codec.h"

namespace pinion::bench {

// Calibrations are used by mode calibrated only; kInvalidArgument if there are none.
Result<std::unique_ptr<StateCoder>> make_pinion_coder(const codec::Profile& profile,
                                                      const codec::CalibrationSet& calibrations);

}  // namespace pinion::bench
