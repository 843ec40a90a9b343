#pragma once
// Qwen3 as the text encoder of FLUX.2 Klein: the hidden states that enter layers 9, 18 and 27, side by side.

#include "pinion/models/text_encoder.h"

namespace pinion::models::qwen3 {

// Layers after the last tap are not loaded.
Result<std::unique_ptr<TextEncoder>> open_encoder(const EncoderSource& source, const StageOptions& options,
                                                  TextPadding padding);

}  // namespace pinion::models::qwen3
