#pragma once
// What a diffusers folder says about how its model wants to be used.

#include <filesystem>

#include "pinion/base/result.h"

namespace pinion::pipeline {

struct ModelDefaults {
  int side_pixels = 1024;  // a square of this side, from the VAE's sample size
  bool distilled = true;   // few steps, no negative prompt
  int steps() const { return distilled ? 4 : 50; }
  double guidance() const { return distilled ? 1.0 : 4.0; }
};

// Reads model_index.json and vae/config.json where they are; a single file gets the defaults above.
Result<ModelDefaults> read_defaults(const std::filesystem::path& model);

}  // namespace pinion::pipeline
