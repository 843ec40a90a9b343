#include "pinion/models/flux2/flux2_export.h"

#include <nlohmann/json.hpp>

namespace pinion::models::flux2 {

std::string diffusers_config(const Spec& spec) {
  const std::int64_t axis = spec.head_width / 4;
  const nlohmann::ordered_json config = {
      {"_class_name", "Flux2Transformer2DModel"},
      {"patch_size", 1},
      {"in_channels", spec.latent_channels},
      {"out_channels", nullptr},
      {"num_layers", spec.double_blocks},
      {"num_single_layers", spec.single_blocks},
      {"attention_head_dim", spec.head_width},
      {"num_attention_heads", spec.heads()},
      {"joint_attention_dim", spec.context_channels},
      {"timestep_guidance_channels", spec.time_features},
      {"mlp_ratio", static_cast<double>(spec.mlp_width) / static_cast<double>(spec.hidden)},
      {"axes_dims_rope", {axis, axis, axis, axis}},
      {"rope_theta", 2000},
      {"eps", 1e-6},
      {"guidance_embeds", spec.takes_guidance},
  };
  return config.dump(2) + "\n";
}

Result<TensorList> bfl_vae(const Weights& diffusers_vae) {
  return Error{Errc::kUnsupported, diffusers_vae.path().string() + ": a VAE cannot be exported yet", ""};
}

}  // namespace pinion::models::flux2
