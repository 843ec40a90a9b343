#pragma once
// The sizes of a FLUX.2 VAE, read from its tensors' names and shapes, and where each tensor is in its file.
// Names are diffusers' throughout; a BFL file's are looked up. Plain data.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pinion/models/weights.h"

namespace pinion::models::flux2_vae {

struct LevelSpec {
  std::int64_t channels = 0;
  int resnets = 0;
  bool resamples = false;  // halves (encoder) or doubles (decoder) the sides at its end
};

struct HalfSpec {
  std::int64_t in_channels = 0;  // of conv_in
  std::int64_t first_channels = 0;
  std::vector<LevelSpec> levels;  // in the order in which they run
  bool mid_attention = false;
  std::int64_t mid_channels = 0;
  std::int64_t out_channels = 0;  // of conv_out
};

struct Spec {
  HalfSpec decoder;
  std::optional<HalfSpec> encoder;  // some files leave it out
  std::int64_t latent_channels = 0;
  bool quant_conv = false;
  bool post_quant_conv = false;
  std::int64_t norm_groups = 32;
  double batch_norm_epsilon = 1e-4;
};

// How the file at hand names a tensor, and whether it stores it as a 1x1 convolution.
struct FileName {
  std::string name;
  bool is_1x1 = false;
};

struct Source {
  Weights weights;
  std::map<std::string, FileName> names;  // by diffusers name
  bool is_bfl = false;
  Spec spec;
};

// `path`: a VAE folder (config.json is read if there is one), a diffusers folder with `vae/`, or a BFL single
// file. kUnsupported when it is no FLUX.2 VAE.
Result<Source> open_source(const std::filesystem::path& path);

}  // namespace pinion::models::flux2_vae
