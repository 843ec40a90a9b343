#pragma once
// The FLUX.2 VAE's two convolutional halves on one device. Immutable once loaded; used by one thread at a
// time.
//
// Two forms of a latent: raw [B, 32, 2h, 2w], what the halves speak; and normalised [B, 128, h, w], what the
// diffusion model sees: 2x2 patches as channels (c, row, column), less their mean, over their spread.
// Formulas: docs/text_and_vae.md.

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "pinion/models/flux2_vae/flux2_vae_spec.h"
#include "pinion/models/stage.h"

namespace pinion::models::flux2_vae {

// A convolution, linear layer or norm; `weight` is undefined for a module that the file does not have.
struct Affine {
  at::Tensor weight, bias;
};

struct Resnet {
  Affine norm1, conv1, norm2, conv2;
  Affine shortcut;  // only where the channels change
};

struct Attention {
  Affine norm, q, k, v, out;
};

struct Level {
  std::vector<Resnet> resnets;
  Affine resample;
};

struct Half {
  Affine conv_in;
  std::vector<Level> levels;
  Resnet mid_first, mid_second;
  Attention mid_attention;
  Affine norm_out, conv_out;
};

class VaeModel {
 public:
  static Result<VaeModel> load(const Source& source, const StageOptions& options);

  const Spec& spec() const { return spec_; }
  bool has_encoder() const { return encoder_.has_value(); }
  std::int64_t pixels_per_raw() const { return pixels_per_raw_; }             // 8
  std::int64_t pixels_per_token() const { return 2 * pixels_per_raw_; }       // 16
  std::int64_t packed_channels() const { return 4 * spec_.latent_channels; }  // 128

  // Inputs of any float dtype on any device; results float32 on the CPU. They throw what libtorch throws.
  at::Tensor decode(const at::Tensor& raw) const;  // -> [B, 3, H, W]
  at::Tensor encode(
      const at::Tensor& pictures) const;  // -> raw, the mode of the posterior; needs the encoder
  at::Tensor normalised(const at::Tensor& raw) const;
  at::Tensor raw(const at::Tensor& normalised) const;

 private:
  VaeModel() = default;
  at::Tensor to_compute(const at::Tensor& tensor) const;

  Spec spec_;
  StageOptions options_;
  std::int64_t pixels_per_raw_ = 1;
  Half decoder_;
  std::optional<Half> encoder_;
  Affine quant_conv_, post_quant_conv_;
  at::Tensor mean_, spread_;  // [1, 128, 1, 1], float32 on the CPU
};

}  // namespace pinion::models::flux2_vae
