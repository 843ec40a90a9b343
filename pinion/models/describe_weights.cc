#include <algorithm>
#include <array>

#include "pinion/models/family.h"

namespace pinion::models {
namespace {

// A piece of a tensor name that tells what the file holds. The first that is found decides, so the more
// telling come first. Sources of the names: the checkpoints' own keys, see docs/models.md.
struct Mark {
  std::string_view piece;
  std::string_view what;
};

constexpr std::array<Mark, 24> kMarks = {{
    {".lora_A.", "a LoRA"},
    {".lora_B.", "a LoRA"},
    {".lora_down.", "a LoRA"},
    {".lora_up.", "a LoRA"},
    {"double_stream_modulation_img.", "a FLUX.2 model"},
    {"distilled_guidance_layer.", "a Chroma model"},
    {"patchify_proj.", "an LTX video model"},
    {"double_blocks.0.img_mod.", "a FLUX.1 or HunyuanVideo model"},
    {"double_blocks.0.img_attn", "a FLUX.1 or HunyuanVideo model"},
    {"transformer_blocks.0.img_mod.", "a Qwen-Image model"},
    {"single_transformer_blocks.0.", "a FLUX.1 model in diffusers' layout"},
    {"joint_blocks.0.", "a Stable Diffusion 3 model"},
    {"transformer_blocks.0.norm1_context.", "a Stable Diffusion 3 model in diffusers' layout"},
    {"blocks.0.cross_attn.", "a Wan video model"},
    {"condition_embedder.", "a Wan video model in diffusers' layout"},
    {"input_blocks.0.", "a Stable Diffusion 1, 2 or XL model"},
    {"down_blocks.0.attentions.", "a Stable Diffusion 1, 2 or XL model in diffusers' layout"},
    {"text_model.encoder.layers.", "a CLIP text encoder"},
    {"encoder.block.0.layer.", "a T5 text encoder"},
    {"layers.0.self_attn.q_proj.", "a language model or text encoder"},
    {"decoder.conv_in.", "a VAE"},
    {"encoder.conv_in.", "a VAE"},
    {"decoder.mid_block.", "a VAE"},
    {"control", "a ControlNet"},
}};

}  // namespace

std::string describe_weights(const Weights& weights) {
  const std::vector<std::string> names = weights.names();
  for (const Mark& mark : kMarks) {
    const bool found = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.find(mark.piece) != std::string::npos;
    });
    if (found) return std::string(mark.what);
  }
  if (names.empty()) return "an empty file";
  return "nothing known (its first tensor is '" + names.front() + "')";
}

}  // namespace pinion::models
