#pragma once
// The FLUX.2 VAE's two tensor layouts: diffusers' folder names and the BFL single file that ComfyUI loads.
// Pure functions, no libtorch. Same tensors, but for the mid-block attention, whose square matrices
// [C, C] BFL stores as 1x1 convolutions [C, C, 1, 1] (the same bytes).

#include <string>
#include <string_view>
#include <vector>

#include "pinion/base/result.h"

namespace pinion::models {

struct VaeRename {
  std::string diffusers;
  std::string bfl;
  bool is_1x1_in_bfl = false;  // [C, C] in diffusers, [C, C, 1, 1] in BFL
};

// The BFL name of every tensor of a diffusers FLUX.2 VAE, in the order given. Needs all names at once because
// BFL counts the decoder's levels from the other end. kBadFormat for a name that no FLUX.2 VAE has.
Result<std::vector<VaeRename>> vae_to_bfl_names(const std::vector<std::string>& diffusers_names);

// The same for the names of a BFL single file; also takes the spelling with quant_conv and post_quant_conv at
// the top level, and leaves out tensors that no FLUX.2 VAE has.
std::vector<VaeRename> vae_from_bfl_names(const std::vector<std::string>& bfl_names);

// Whether these are the names of a BFL single file rather than of a diffusers folder.
bool has_bfl_vae_names(const std::vector<std::string>& names);

}  // namespace pinion::models
