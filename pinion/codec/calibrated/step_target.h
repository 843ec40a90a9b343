#pragma once
// What all that crosses a cut in a step may cost the model's output, or take in bytes, shared by its streams:
// so that a bit buys the same in each, by what their calibrations know beforehand (docs/calibration.md, "The
// target"). Ends that share a target need not agree on the shares for anything but their sum. Pure functions.

#include <memory>
#include <span>

#include "pinion/codec/calibrated/calibrated_codec.h"

namespace pinion::codec {

struct StepStream {
  std::shared_ptr<const Calibration> calibration;  // not null
  std::int64_t rows = 0;                           // of its tensors
};

// What streams[own] is to meet so that all together are expected to meet `whole`. Of the context only sigmas,
// previous_latents being there, and output_rows matter.
CalibratedTarget share_of(const CalibratedTarget& whole, std::span<const StepStream> streams, std::size_t own,
                          const StepContext& context);

// Bits that a frame of a stream alone is expected to take at a target in dB.
double expected_bits(const StepStream& stream, const StepContext& context, double output_snr_db);

}  // namespace pinion::codec
