#include "pinion/models/qwen3/qwen3_model.h"

#include "pinion/models/qwen3/qwen3_weights.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::qwen3 {
namespace {

// Multiplied by the weight in the compute dtype, after rounding: the order matters in bf16.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide.mul(wide.square().mean(-1, /*keepdim=*/true).add_(epsilon).rsqrt_())
      .to(x.scalar_type())
      .mul_(weight);
}

// Cosines and sines of the tokens' angles, [S, D/2] each.
struct Rope {
  at::Tensor cos, sin;
};

Rope make_rope(const Config& config, std::int64_t tokens, const at::TensorOptions& compute) {
  // In float32 all the way, as the reference does: at far positions every rounding of a frequency shows.
  const at::Tensor exponents = at::arange(0, config.head_width, 2, at::kFloat).div_(config.head_width);
  const at::Tensor frequencies = at::pow(config.rope_theta, exponents).reciprocal_();
  const at::Tensor angles = at::arange(tokens, at::kFloat).unsqueeze(1) * frequencies;
  return {angles.cos().to(compute), angles.sin().to(compute)};
}

// [B, heads, S, D]: pairs (k, k + D/2).
at::Tensor rotate(const at::Tensor& x, const Rope& rope) {
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.narrow(-1, 0, half);
  const at::Tensor b = x.narrow(-1, half, half);
  return at::cat({a * rope.cos - b * rope.sin, b * rope.cos + a * rope.sin}, -1);
}

// What every layer of one run shares.
struct Run {
  const Config& config;
  Rope rope;
  at::Tensor visible;  // [B, 1, S, S], true where a token sees another; undefined without padding
};

at::Tensor attend(const LayerWeights& weights, const Run& run, const at::Tensor& x) {
  const Config& config = run.config;
  const auto heads = [&](const at::Tensor& weight) {
    return at::linear(x, weight).unflatten(-1, {-1, config.head_width});
  };
  const at::Tensor q = rms_norm(heads(weights.q), weights.q_norm, config.norm_epsilon).transpose(1, 2);
  const at::Tensor k = rms_norm(heads(weights.k), weights.k_norm, config.norm_epsilon).transpose(1, 2);
  const at::Tensor v = heads(weights.v).transpose(1, 2);
  const std::int64_t sharing = config.heads / config.key_value_heads;
  const at::Tensor out = at::scaled_dot_product_attention(
      rotate(q, run.rope), rotate(k, run.rope).repeat_interleave(sharing, 1), v.repeat_interleave(sharing, 1),
      run.visible.defined() ? std::optional(run.visible) : std::nullopt, /*dropout_p=*/0.0,
      /*is_causal=*/!run.visible.defined());
  return at::linear(out.transpose(1, 2).flatten(2), weights.o);
}

at::Tensor run_layer(const LayerWeights& weights, const Run& run, const at::Tensor& x) {
  const double epsilon = run.config.norm_epsilon;
  const at::Tensor h = x + attend(weights, run, rms_norm(x, weights.input_norm, epsilon));
  const at::Tensor m = rms_norm(h, weights.mlp_norm, epsilon);
  return h + at::linear(at::silu(at::linear(m, weights.gate)).mul_(at::linear(m, weights.up)), weights.down);
}

Result<void> check_ids(const at::Tensor& ids, std::int64_t vocabulary) {
  if (ids.numel() == 0) return Error{Errc::kInvalidArgument, "there are no token ids", ""};
  const auto lowest = ids.min().item<std::int64_t>();
  const auto highest = ids.max().item<std::int64_t>();
  if (lowest >= 0 && highest < vocabulary) return {};
  return Error{Errc::kInvalidArgument,
               "token id " + std::to_string(lowest < 0 ? lowest : highest) +
                   " is outside the vocabulary of " + std::to_string(vocabulary),
               "tokenizer and text encoder must be of the same model"};
}

}  // namespace

Result<Model> Model::load(const Weights& weights, const Config& config, Part part,
                          const StageOptions& options) {
  PINION_TRY_VOID(check_device(options.device));
  PINION_TRY(PartWeights loaded, load_part(weights, config, part, options));
  Model model;
  model.config_ = config;
  model.options_ = options;
  model.embeddings_ = std::move(loaded.embeddings);
  model.layers_ = std::move(loaded.layers);
  model.final_norm_ = std::move(loaded.final_norm);
  model.output_ = std::move(loaded.output);
  return model;
}

Result<at::Tensor> Model::run(const at::Tensor& ids, const at::Tensor& mask,
                              const HiddenObserver& observer) const {
  return caught([&]() -> Result<at::Tensor> {
    const c10::InferenceMode inference;
    PINION_TRY_VOID(check_ids(ids, config_.vocabulary));
    const at::Device device = to_torch(options_.device);
    Run run{config_, make_rope(config_, ids.size(1), embeddings_.options()), {}};
    if (!mask.all().item<bool>()) {
      const at::Tensor causal = at::ones({ids.size(1), ids.size(1)}, at::kBool).tril();
      run.visible = causal.logical_and(mask.unsqueeze(1).unsqueeze(1)).to(device);
    }
    at::Tensor state = at::embedding(embeddings_, ids.to(device));
    observer(0, state);
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      state = run_layer(layers_[layer], run, state);
      observer(static_cast<std::int64_t>(layer) + 1, state);
    }
    return state;
  });
}

at::Tensor Model::normed(const at::Tensor& state) const {
  PINION_ASSERT(final_norm_.defined());
  return rms_norm(state, final_norm_, config_.norm_epsilon);
}

at::Tensor Model::logits(const at::Tensor& normed_state) const {
  PINION_ASSERT(output_.defined());
  return at::linear(normed_state, output_);
}

}  // namespace pinion::models::qwen3
