#include "pinion/models/qwen3/qwen3_weights.h"

#include <fmt/format.h>

#include <map>

#include "pinion/models/load_tensor.h"

namespace pinion::models::qwen3 {
namespace {

// Qwen3ForCausalLM's files name the body "model."; a bare Qwen3Model's have no prefix.
constexpr std::string_view kPrefixes[] = {"model.", "", "language_model.model."};

WantedTensor wanted(const std::string& name, const Shape& shape) {
  WantedTensor tensor{name, shape, {}};
  for (const std::string_view prefix : kPrefixes) {
    tensor.spellings.push_back({RowRange{std::string(prefix) + name, shape[0], 0, shape[0]}});
  }
  return tensor;
}

std::string layer_name(std::int64_t index) { return fmt::format("layers.{}.", index); }

WantedGroup wanted_layer(const Config& config, std::int64_t index) {
  const std::string layer = layer_name(index);
  const std::string attention = layer + "self_attn.";
  const std::int64_t query = config.heads * config.head_width;
  const std::int64_t key = config.key_value_heads * config.head_width;
  return {layer,
          {wanted(attention + "q_proj.weight", {query, config.hidden}),
           wanted(attention + "k_proj.weight", {key, config.hidden}),
           wanted(attention + "v_proj.weight", {key, config.hidden}),
           wanted(attention + "o_proj.weight", {config.hidden, query}),
           wanted(attention + "q_norm.weight", {config.head_width}),
           wanted(attention + "k_norm.weight", {config.head_width}),
           wanted(layer + "mlp.gate_proj.weight", {config.mlp_width, config.hidden}),
           wanted(layer + "mlp.up_proj.weight", {config.mlp_width, config.hidden}),
           wanted(layer + "mlp.down_proj.weight", {config.hidden, config.mlp_width}),
           wanted(layer + "input_layernorm.weight", {config.hidden}),
           wanted(layer + "post_attention_layernorm.weight", {config.hidden})}};
}

WantedTensor wanted_output(const Config& config) {
  const RowRange rows{"lm_head.weight", config.vocabulary, 0, config.vocabulary};
  return {"lm_head.weight", {config.vocabulary, config.hidden}, {{rows}}};
}

std::vector<WantedGroup> wanted_part(const Config& config, Part part) {
  std::vector<WantedGroup> groups;
  groups.push_back({"embed", {wanted("embed_tokens.weight", {config.vocabulary, config.hidden})}});
  for (std::int64_t layer = 0; layer < part.layers; ++layer) groups.push_back(wanted_layer(config, layer));
  if (part.head) {
    WantedGroup head{"head", {wanted("norm.weight", {config.hidden})}};
    if (!config.tied_embeddings) head.tensors.push_back(wanted_output(config));
    groups.push_back(std::move(head));
  }
  return groups;
}

// Every tensor of a group on the device, by canonical name.
Result<std::map<std::string, at::Tensor>> load_group(const Checkpoint& checkpoint, const std::string& name,
                                                     const StageOptions& options) {
  std::map<std::string, at::Tensor> loaded;
  for (const CanonicalTensor& tensor : checkpoint.group(name).tensors) {
    PINION_TRY(loaded[tensor.name], load_tensor(checkpoint, tensor, options));
  }
  return loaded;
}

Result<LayerWeights> load_layer(const Checkpoint& checkpoint, std::int64_t index,
                                const StageOptions& options) {
  const std::string layer = layer_name(index);
  PINION_TRY(const auto tensors, load_group(checkpoint, layer, options));
  const auto get = [&](const char* name) { return tensors.at(layer + name); };
  return LayerWeights{.q = get("self_attn.q_proj.weight"),
                      .k = get("self_attn.k_proj.weight"),
                      .v = get("self_attn.v_proj.weight"),
                      .o = get("self_attn.o_proj.weight"),
                      .q_norm = get("self_attn.q_norm.weight"),
                      .k_norm = get("self_attn.k_norm.weight"),
                      .gate = get("mlp.gate_proj.weight"),
                      .up = get("mlp.up_proj.weight"),
                      .down = get("mlp.down_proj.weight"),
                      .input_norm = get("input_layernorm.weight"),
                      .mlp_norm = get("post_attention_layernorm.weight")};
}

}  // namespace

Result<PartWeights> load_part(const Weights& weights, const Config& config, Part part,
                              const StageOptions& options) {
  PINION_ASSERT(part.layers <= config.layers && (!part.head || part.layers == config.layers));
  PINION_TRY(const Checkpoint checkpoint, Checkpoint::resolve(weights, wanted_part(config, part)));
  PartWeights loaded;
  PINION_TRY(auto embed, load_group(checkpoint, "embed", options));
  loaded.embeddings = embed.at("embed_tokens.weight");
  for (std::int64_t layer = 0; layer < part.layers; ++layer) {
    PINION_TRY(LayerWeights layer_weights, load_layer(checkpoint, layer, options));
    loaded.layers.push_back(std::move(layer_weights));
  }
  if (!part.head) return loaded;
  PINION_TRY(auto head, load_group(checkpoint, "head", options));
  loaded.final_norm = head.at("norm.weight");
  loaded.output = config.tied_embeddings ? loaded.embeddings : head.at("lm_head.weight");
  return loaded;
}

}  // namespace pinion::models::qwen3
