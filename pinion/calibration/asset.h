#pragma once
// From a solved model to the asset that the codec applies (docs/format.md, section 13).

#include "pinion/calibration/solve.h"
#include "pinion/codec/calibrated/calibration.h"

namespace pinion::calibration {

// `sigmas` are the noise levels of the model's steps, falling.
codec::Calibration to_asset(const StreamModel& model, const codec::CalibrationKey& key,
                            std::span<const double> sigmas);

}  // namespace pinion::calibration
