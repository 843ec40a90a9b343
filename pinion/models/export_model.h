#pragma once
// Writes a model's weights in another file layout. No arithmetic: the stored bytes move, and the content hash
// stays.

#include <filesystem>
#include <string_view>
#include <vector>

#include "pinion/base/result.h"

namespace pinion::models {

// Exports what `source` (as for open_model) holds into `folder` and returns the files that were written.
//   "bfl": what ComfyUI loads: diffusion_models/NAME.safetensors, and of a diffusers folder also
//          vae/NAME-vae.safetensors and text_encoders/NAME-text-encoder.safetensors (its shards joined).
//   "diffusers": transformer/config.json and transformer/diffusion_pytorch_model.safetensors.
// NAME is that of the source folder or file. Holds what has to be joined (q, k, v) in memory at once.
Result<std::vector<std::filesystem::path>> export_model(const std::filesystem::path& source,
                                                        std::string_view layout,
                                                        const std::filesystem::path& folder);

}  // namespace pinion::models
