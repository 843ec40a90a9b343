#include "pinion/models/flux2_vae/flux2_vae_model.h"

#include "pinion/models/flux2_vae/flux2_vae_weights.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2_vae {
namespace {

constexpr double kNormEpsilon = 1e-6;

struct Network {
  const Half& weights;
  std::int64_t groups;
};

at::Tensor group_norm(const Affine& norm, const at::Tensor& x, std::int64_t groups) {
  return at::group_norm(x, groups, norm.weight, norm.bias, kNormEpsilon);
}

struct ConvShape {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
};

// conv2d would round float32 to TF32 on a GPU and might pick another algorithm the next time: a picture
// should depend on its latents alone.
at::Tensor convolve(const Affine& weights, const at::Tensor& x, ConvShape shape) {
  return at::_convolution(
      x, weights.weight, weights.bias, {shape.stride, shape.stride}, {shape.padding, shape.padding},
      /*dilation=*/{1, 1}, /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1,
      /*benchmark=*/false, /*deterministic=*/true, /*cudnn_enabled=*/true, /*allow_tf32=*/false);
}

// Keeps the sides for odd kernels.
at::Tensor conv(const Affine& weights, const at::Tensor& x) {
  return convolve(weights, x, {.stride = 1, .padding = weights.weight.size(-1) / 2});
}

at::Tensor run_resnet(const Resnet& resnet, const at::Tensor& x, std::int64_t groups) {
  at::Tensor h = conv(resnet.conv1, at::silu(group_norm(resnet.norm1, x, groups)));
  h = conv(resnet.conv2, at::silu(group_norm(resnet.norm2, h, groups)));
  return h.add_(resnet.shortcut.weight.defined() ? conv(resnet.shortcut, x) : x);
}

// Full attention over all pixels, one head.
at::Tensor run_attention(const Attention& attention, const at::Tensor& x, std::int64_t groups) {
  if (!attention.q.weight.defined()) return x;
  const at::Tensor pixels = group_norm(attention.norm, x, groups).flatten(2).transpose(1, 2);
  const auto project = [](const Affine& linear, const at::Tensor& in) {
    return at::linear(in, linear.weight, linear.bias);
  };
  const at::Tensor seen = at::scaled_dot_product_attention(project(attention.q, pixels).unsqueeze(1),
                                                           project(attention.k, pixels).unsqueeze(1),
                                                           project(attention.v, pixels).unsqueeze(1))
                              .squeeze(1);
  return x + project(attention.out, seen).transpose(1, 2).reshape_as(x);
}

at::Tensor run_middle(const Network& net, const at::Tensor& x) {
  const at::Tensor h =
      run_attention(net.weights.mid_attention, run_resnet(net.weights.mid_first, x, net.groups), net.groups);
  return run_resnet(net.weights.mid_second, h, net.groups);
}

at::Tensor finish(const Network& net, const at::Tensor& x) {
  return conv(net.weights.conv_out, at::silu(group_norm(net.weights.norm_out, x, net.groups)));
}

at::Tensor run_encoder(const Network& net, const at::Tensor& pictures) {
  at::Tensor x = conv(net.weights.conv_in, pictures);
  for (const Level& level : net.weights.levels) {
    for (const Resnet& resnet : level.resnets) x = run_resnet(resnet, x, net.groups);
    if (!level.resample.weight.defined()) continue;
    // One row and column of zeros, on the far sides only.
    x = convolve(level.resample, at::constant_pad_nd(x, {0, 1, 0, 1}), {.stride = 2, .padding = 0});
  }
  return finish(net, run_middle(net, x));
}

at::Tensor run_decoder(const Network& net, const at::Tensor& latents) {
  at::Tensor x = run_middle(net, conv(net.weights.conv_in, latents));
  for (const Level& level : net.weights.levels) {
    for (const Resnet& resnet : level.resnets) x = run_resnet(resnet, x, net.groups);
    if (!level.resample.weight.defined()) continue;
    x = conv(level.resample, at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}));
  }
  return finish(net, x);
}

}  // namespace

Result<VaeModel> VaeModel::load(const Source& source, const StageOptions& options) {
  PINION_TRY_VOID(check_device(options.device));
  PINION_TRY(VaeWeights weights, load_weights(source, options));
  return caught([&]() -> Result<VaeModel> {
    const c10::NoGradGuard no_grad;  // not inference mode: pull_back() needs weights that autograd takes
    // Unless told not to, cuDNN rounds the inputs of float32 convolutions to TF32, three decimal digits. The
    // switch is one for the whole process; nothing here wants it on.
    at::globalContext().setAllowTF32CuDNN(false);
    VaeModel model;
    model.spec_ = source.spec;
    model.options_ = options;
    for (const LevelSpec& level : source.spec.decoder.levels)
      model.pixels_per_raw_ *= level.resamples ? 2 : 1;
    model.decoder_ = std::move(weights.decoder);
    model.encoder_ = std::move(weights.encoder);
    model.quant_conv_ = std::move(weights.quant_conv);
    model.post_quant_conv_ = std::move(weights.post_quant_conv);
    model.mean_ = weights.mean.view({1, -1, 1, 1});
    model.spread_ = weights.variance.add(source.spec.batch_norm_epsilon).sqrt_().view({1, -1, 1, 1});
    return model;
  });
}

at::Tensor VaeModel::to_compute(const at::Tensor& tensor) const {
  return tensor.to(at::TensorOptions().device(to_torch(options_.device)).dtype(to_torch(options_.dtype)));
}

at::Tensor VaeModel::decode(const at::Tensor& raw) const {
  at::Tensor x = to_compute(raw);
  if (post_quant_conv_.weight.defined()) x = conv(post_quant_conv_, x);
  return run_decoder({decoder_, spec_.norm_groups}, x).to(at::kFloat).cpu();
}

at::Tensor VaeModel::encode(const at::Tensor& pictures) const {
  PINION_ASSERT(has_encoder());
  at::Tensor moments = run_encoder({*encoder_, spec_.norm_groups}, to_compute(pictures));
  if (quant_conv_.weight.defined()) moments = conv(quant_conv_, moments);
  return moments.narrow(1, 0, spec_.latent_channels).to(at::kFloat).cpu();
}

at::Tensor VaeModel::normalised(const at::Tensor& raw) const {
  const at::Tensor packed = at::pixel_unshuffle(raw.to(at::kFloat).cpu(), 2);
  return packed.sub(mean_).div_(spread_);
}

at::Tensor VaeModel::raw(const at::Tensor& normalised) const {
  return at::pixel_shuffle(normalised.to(at::kFloat).cpu().mul(spread_).add_(mean_), 2);
}

}  // namespace pinion::models::flux2_vae
