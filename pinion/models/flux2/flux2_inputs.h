#pragma once
// What a stage asks of its inputs, checked before any arithmetic. Pure functions; every error says which
// input is wrong and what was expected.

#include "pinion/models/flux2/flux2_stage.h"

namespace pinion::models::flux2 {

// Rows of the image stream: the picture's tokens and those of all references.
std::int64_t image_tokens(const JobConstants& constants);

Result<void> check_constants(const StageSetup& setup, const JobConstants& constants);
Result<void> check_step(const StageSetup& setup, const JobConstants& constants, const StepInput& input);

}  // namespace pinion::models::flux2
