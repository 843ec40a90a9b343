#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "pinion/models/flux2_vae/flux2_vae_model.h"
#include "pinion/models/torch_bridge.h"
#include "pinion/models/vae.h"

namespace pinion::models {
namespace {

class Flux2Vae final : public Vae {
 public:
  Flux2Vae(flux2_vae::VaeModel model, std::filesystem::path path)
      : model_(std::move(model)), path_(std::move(path)) {}

  std::int64_t pixels_per_token() const override { return model_.pixels_per_token(); }

  Result<Tensor> decode(const Tensor& latents, LatentGrid grid) override {
    PINION_TRY_VOID(check_latents(latents, grid));
    return caught([&]() -> Result<Tensor> {
      const c10::InferenceMode inference;
      return from_torch(model_.decode(model_.raw(by_channel(to_torch(latents), grid))));
    });
  }

  Result<Tensor> pull_back(const Tensor& latents, LatentGrid grid, const Tensor& cotangent) override {
    PINION_TRY_VOID(check_latents(latents, grid));
    const std::int64_t side = model_.pixels_per_token();
    const Shape pictures{latents.shape()[0], 3, grid.height * side, grid.width * side};
    if (cotangent.shape() != pictures || !is_float(cotangent.dtype())) {
      return Error{Errc::kInvalidArgument,
                   fmt::format("the cotangent of pictures {} is {}", to_string(pictures),
                               to_string(cotangent.shape())),
                   ""};
    }
    return caught([&]() -> Result<Tensor> {
      const at::AutoGradMode recorded(true);
      const at::Tensor leaf = to_torch(latents).to(at::kFloat).cpu().clone().requires_grad_(true);
      const at::Tensor decoded = model_.decode(model_.raw(by_channel(leaf, grid)));
      const at::Tensor seed = to_torch(cotangent).to(at::kFloat).cpu();
      return from_torch(torch::autograd::grad({decoded}, {leaf}, {seed}).at(0).contiguous());
    });
  }

  Result<Tensor> encode(const Tensor& pictures) override {
    if (!model_.has_encoder()) {
      return Error{Errc::kUnsupported,
                   path_.string() + " has no encoder, so it cannot read reference pictures",
                   "use a VAE file that has both halves"};
    }
    const Shape& shape = pictures.shape();
    const std::int64_t side = model_.pixels_per_token();
    if (shape.rank() != 4 || shape[1] != 3 || shape[2] < side || shape[3] < side || shape[2] % side != 0 ||
        shape[3] % side != 0 || !is_float(pictures.dtype())) {
      return Error{
          Errc::kInvalidArgument,
          fmt::format("the VAE was given pictures {}, it takes [batch, 3, height, width] with sides that are "
                      "multiples of {}",
                      to_string(shape), side),
          ""};
    }
    return caught([&]() -> Result<Tensor> {
      const c10::InferenceMode inference;
      return from_torch(model_.normalised(model_.encode(to_torch(pictures))).flatten(2).transpose(1, 2));
    });
  }

 private:
  Result<void> check_latents(const Tensor& latents, LatentGrid grid) const {
    const Shape& shape = latents.shape();
    if (shape.rank() == 3 && shape[1] == grid.tokens() && shape[2] == model_.packed_channels() &&
        is_float(latents.dtype()))
      return {};
    return Error{
        Errc::kInvalidArgument,
        fmt::format("the VAE was given latents {} for a grid of {} by {}, it takes [batch, {}, {}]",
                    to_string(shape), grid.height, grid.width, grid.tokens(), model_.packed_channels()),
        ""};
  }

  static at::Tensor by_channel(const at::Tensor& latents, LatentGrid grid) {
    return latents.transpose(1, 2).unflatten(2, {grid.height, grid.width});
  }

  flux2_vae::VaeModel model_;
  std::filesystem::path path_;
};

}  // namespace

Result<std::unique_ptr<Vae>> open_vae(const std::filesystem::path& path, const StageOptions& options) {
  PINION_TRY(const flux2_vae::Source source, flux2_vae::open_source(path));
  PINION_TRY(flux2_vae::VaeModel model, flux2_vae::VaeModel::load(source, options));
  return std::unique_ptr<Vae>(std::make_unique<Flux2Vae>(std::move(model), source.weights.path()));
}

}  // namespace pinion::models
