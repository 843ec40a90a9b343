#pragma once
// How a user names where a model runs and what it computes in. Pure function; no torch types.

#include <string>

#include "pinion/models/stage.h"

namespace pinion::models {

// `device` is "cpu" or "cuda:N"; `dtype` "fp32", "bf16", "fp16", or "auto": fp32 on the CPU, else bf16.
// kInvalidArgument names the flag that is wrong.
Result<StageOptions> parse_stage_flags(const std::string& device, const std::string& dtype);

}  // namespace pinion::models
