#include "pinion/models/flux2/flux2_export.h"

#include <nlohmann/json.hpp>

#include "pinion/base/log.h"
#include "pinion/models/flux2_vae/flux2_vae_names.h"

namespace pinion::models::flux2 {
namespace {

// The one encoder width that ComfyUI builds; it reads the decoder's from the file.
constexpr std::int64_t kEncoderWidth = 128;

}  // namespace

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
  const SafetensorsEntry* encoder = diffusers_vae.entry("encoder.conv_in.weight");
  const bool with_encoder =
      encoder != nullptr && encoder->shape.rank() > 0 && encoder->shape[0] == kEncoderWidth;
  if (encoder != nullptr && !with_encoder) {
    spdlog::warn("the exported VAE lacks its encoder: ComfyUI takes none that is not {} channels wide",
                 kEncoderWidth);
  }
  PINION_TRY(const std::vector<VaeRename> renames, vae_to_bfl_names(diffusers_vae.names()));
  TensorList tensors;
  for (const VaeRename& rename : renames) {
    if (!with_encoder && rename.bfl.starts_with("encoder.")) continue;
    PINION_TRY(Tensor tensor, diffusers_vae.tensor(rename.diffusers));
    if (rename.is_1x1_in_bfl && tensor.shape().rank() == 2) {
      tensor = tensor.reshaped({tensor.shape()[0], tensor.shape()[1], 1, 1});
    }
    tensors.push_back({rename.bfl, std::move(tensor)});
  }
  return tensors;
}

}  // namespace pinion::models::flux2
