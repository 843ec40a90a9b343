#include "pinion/models/stage_flags.h"

namespace pinion::models {

Result<StageOptions> parse_stage_flags(const std::string& device, const std::string& dtype) {
  const auto wrong = [](const std::string& text) { return Error{Errc::kInvalidArgument, text, ""}; };
  const auto place = device_from_name(device);
  if (!place) return wrong("--device '" + device + "' is neither cpu nor cuda:N");
  if (dtype == "auto") return StageOptions{*place, place->is_cpu() ? DType::kF32 : DType::kBF16};
  const auto type = dtype_from_user(dtype);
  if (!type) return wrong("--dtype '" + dtype + "' is not one of auto, fp32, bf16, fp16");
  return StageOptions{*place, *type};
}

}  // namespace pinion::models
