#pragma once
// One evaluation of a text encoder or a VAE on given tensors, for parity tests (`pinion forward`). Outputs
// are float32 on the CPU. Each call loads the model anew; thread-safe.

#include <filesystem>

#include "pinion/models/stage.h"

namespace pinion::models {

struct ForwardOptions {
  StageOptions stage;
  bool hidden = false;  // also every intermediate state
};

// What `path` holds, as far as this file's functions are concerned.
enum class ForwardKind { kNone, kQwen3, kVae };
ForwardKind forward_kind(const std::filesystem::path& path);

// `path`: a transformers folder (config.json beside safetensors) or a diffusers folder with `text_encoder/`.
// Inputs as of Qwen3ForCausalLM.forward: input_ids [B, S] (I64 or I32) and, if there is one, attention_mask
// [B, S] (any integer type or BOOL). Outputs: logits [B, S, vocabulary]; with `hidden` also hidden.0 (the
// embeddings), hidden.1, … as in transformers' hidden_states: the last is after the final norm.
Result<TensorList> forward_qwen3(const std::filesystem::path& path, const TensorList& inputs,
                                 const ForwardOptions& options);

// `path`: a VAE folder, a diffusers folder with `vae/`, or a BFL single file.
// Input sample [B, 3, H, W] -> latent [B, 32, H/8, W/8], diffusers' encode(sample).latent_dist.mode(), and
// latent_normalised [B, 128, H/16, W/16], as ComfyUI has it.
// Input latent, in either of these two forms -> sample [B, 3, H, W].
Result<TensorList> forward_vae(const std::filesystem::path& path, const TensorList& inputs,
                               const ForwardOptions& options);

}  // namespace pinion::models
