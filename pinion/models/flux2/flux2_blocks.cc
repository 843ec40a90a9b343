#include "pinion/models/flux2/flux2_blocks.h"

#include <cmath>

#include "pinion/models/flux2/flux2_rope.h"

namespace pinion::models::flux2 {
namespace {

constexpr double kNormEpsilon = 1e-6;
constexpr double kLargestHalf = 65504.0;
constexpr double kLongestPeriod = 10000.0;
constexpr float kTimeScale = 1000.0f;

at::Tensor layer_norm(const at::Tensor& x) { return at::layer_norm(x, {x.size(-1)}, {}, {}, kNormEpsilon); }

at::Tensor modulate(const at::Tensor& x, const Modulation& m) {
  return at::addcmul(m.shift, layer_norm(x), m.scale);
}

// fp16 overflows in the text rows of real prompts; the reference implementations clamp there too.
void keep_finite(at::Tensor& x) {
  if (x.scalar_type() == at::kHalf) x.nan_to_num_(0.0, kLargestHalf, -kLargestHalf);
}

// Queries, keys and values, each [B, tokens, heads, head width].
struct Qkv {
  at::Tensor q, k, v;
};

// `fused` is [B, tokens, >= 3H] with rows [q | k | v | …], each as (head, width). Queries and keys are
// normed.
Qkv split_heads(const at::Tensor& fused, const at::Tensor& query_norm, const at::Tensor& key_norm,
                std::int64_t hidden) {
  const std::int64_t width = query_norm.size(0);
  const auto part = [&](std::int64_t index) {
    return fused.narrow(-1, index * hidden, hidden).unflatten(-1, {-1, width});
  };
  return {at::rms_norm(part(0), {width}, query_norm, kNormEpsilon),
          at::rms_norm(part(1), {width}, key_norm, kNormEpsilon), part(2)};
}

// Full attention over all tokens, [B, tokens, H].
at::Tensor attend(const Qkv& in, const at::Tensor& rope) {
  const at::Tensor out = at::scaled_dot_product_attention(
      rotate(in.q, rope).transpose(1, 2), rotate(in.k, rope).transpose(1, 2), in.v.transpose(1, 2));
  return out.transpose(1, 2).flatten(2);
}

at::Tensor gated(const at::Tensor& x) {
  const std::int64_t half = x.size(-1) / 2;
  return at::silu(x.narrow(-1, 0, half)).mul_(x.narrow(-1, half, half));
}

Qkv stream_qkv(const StreamWeights& weights, const Modulation& modulation, const at::Tensor& x) {
  return split_heads(at::linear(modulate(x, modulation), weights.qkv), weights.query_norm, weights.key_norm,
                     x.size(-1));
}

// The rest of a stream's half of a double block, after attention.
at::Tensor finish_stream(const StreamWeights& weights, const StreamModulation& modulation,
                         const at::Tensor& x, const at::Tensor& attention) {
  const at::Tensor attended = at::addcmul(x, modulation[0].gate, at::linear(attention, weights.proj));
  const at::Tensor mlp = gated(at::linear(modulate(attended, modulation[1]), weights.mlp_in));
  // Not in place: a recorded step needs the norm's input again.
  return at::addcmul(attended, modulation[1].gate, at::linear(mlp, weights.mlp_out));
}

}  // namespace

at::Tensor time_features(const std::vector<float>& values, std::int64_t features) {
  const std::int64_t half = features / 2;
  // In float32 and in this order, because at angles near 1000 every rounding shows. The exponential is
  // rounded from float64: in float32 its last bit differs from processor to processor, and so would the
  // pictures.
  const at::Tensor exponents = (at::arange(half, at::kFloat) * -std::log(kLongestPeriod)).div_(half);
  const at::Tensor frequencies = exponents.to(at::kDouble).exp_().to(at::kFloat);
  at::Tensor times = at::empty({static_cast<std::int64_t>(values.size()), 1}, at::kFloat);
  for (std::size_t i = 0; i < values.size(); ++i)
    times[static_cast<std::int64_t>(i)] = values[i] * kTimeScale;
  const at::Tensor angles = times * frequencies;
  return at::cat({angles.cos(), angles.sin()}, 1);
}

at::Tensor embed_time(const MlpWeights& weights, const at::Tensor& features) {
  return at::linear(at::silu(at::linear(features, weights.in)), weights.out);
}

std::vector<Modulation> modulations(const at::Tensor& weight, const at::Tensor& time) {
  const std::int64_t hidden = time.size(-1);
  const std::vector<at::Tensor> parts = at::linear(at::silu(time), weight).unsqueeze(1).split(hidden, -1);
  std::vector<Modulation> all;
  for (std::size_t i = 0; i + 2 < parts.size(); i += 3)
    all.push_back({parts[i], parts[i + 1] + 1, parts[i + 2]});
  return all;
}

Streams double_block(const DoubleBlockWeights& weights, const DoubleModulation& modulation, const Streams& in,
                     const at::Tensor& rope) {
  const std::int64_t text_tokens = in.text.size(1);
  const Qkv text = stream_qkv(weights.text, modulation.text[0], in.text);
  const Qkv image = stream_qkv(weights.image, modulation.image[0], in.image);
  const at::Tensor attention = attend(
      {at::cat({text.q, image.q}, 1), at::cat({text.k, image.k}, 1), at::cat({text.v, image.v}, 1)}, rope);
  Streams out;
  out.image = finish_stream(weights.image, modulation.image, in.image,
                            attention.narrow(1, text_tokens, in.image.size(1)));
  out.text = finish_stream(weights.text, modulation.text, in.text, attention.narrow(1, 0, text_tokens));
  keep_finite(out.text);
  return out;
}

at::Tensor single_block(const SingleBlockWeights& weights, const Modulation& modulation,
                        const at::Tensor& joint, const at::Tensor& rope) {
  const std::int64_t hidden = joint.size(-1);
  const at::Tensor fused = at::linear(modulate(joint, modulation), weights.linear1);
  const at::Tensor attention = attend(split_heads(fused, weights.query_norm, weights.key_norm, hidden), rope);
  const at::Tensor mlp = gated(fused.narrow(-1, 3 * hidden, fused.size(-1) - 3 * hidden));
  at::Tensor out =
      at::addcmul(joint, modulation.gate, at::linear(at::cat({attention, mlp}, -1), weights.linear2));
  keep_finite(out);
  return out;
}

at::Tensor finish(const at::Tensor& modulation_weight, const at::Tensor& linear_weight,
                  const at::Tensor& time, const at::Tensor& image) {
  const std::vector<at::Tensor> parts =
      at::linear(at::silu(time), modulation_weight).unsqueeze(1).chunk(2, -1);
  return at::linear(at::addcmul(parts[0], layer_norm(image), parts[1] + 1), linear_weight);
}

}  // namespace pinion::models::flux2
