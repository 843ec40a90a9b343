#pragma once
// Where the scale of an fp8 weight stands, in both styles of ComfyUI's scaled checkpoints:
// `X.scale_weight` under a file-wide `scaled_fp8` marker (older), or `X.weight_scale` with a JSON note in
// `X.comfy_quant` or in the file's metadata (current). The number is weight = fp8 value * scale.

#include <string>

#include "pinion/models/weights.h"

namespace pinion::models {

// The name of the tensor that holds the scale of `tensor` ("X.weight"), or empty when it is stored
// plainly. kUnsupported if a note names a format other than scaled fp8; kBadFormat if a note is no JSON, or
// the scale has neither one element nor one per row.
Result<std::string> find_scale(const Weights& weights, const SafetensorsEntry& tensor);

// True for the side tensors of quantised layers: scales, format notes, file-wide markers.
bool is_quantisation_note(std::string_view name);

// The note that the current style stores beside an fp8 weight, as `X.comfy_quant`; empty for other dtypes.
std::string scaled_fp8_note(DType dtype);

}  // namespace pinion::models
