#pragma once
// How a budget for all that crosses a cut in a step is shared by its streams: so that all are expected to
// cost the output equally, by what their calibrations know beforehand (docs/calibration.md, "Targets"). Ends
// that share a budget need not agree on the shares for anything but their sum. Pure functions.

#include <memory>
#include <span>

#include "pinion/codec/calibrated/calibrated_codec.h"

namespace pinion::codec {

struct BudgetStream {
  std::shared_ptr<const Calibration> calibration;  // not null
  std::int64_t rows = 0;                           // of its tensors
};

// Bits that a frame of a stream is expected to take at a target in dB. Of the context only sigmas,
// previous_latents being there, and output_rows matter.
double expected_bits(const BudgetStream& stream, const StepContext& context, double output_snr_db);

// The share in bytes, at least 1, of streams[own].
std::size_t budget_share(std::size_t budget_bytes, std::span<const BudgetStream> streams, std::size_t own,
                         const StepContext& context);

}  // namespace pinion::codec
