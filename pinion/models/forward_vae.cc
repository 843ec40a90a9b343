#include <fmt/format.h>

#include "pinion/models/flux2_vae/flux2_vae_model.h"
#include "pinion/models/forward_text_vae.h"
#include "pinion/models/json_file.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

namespace fs = std::filesystem;

Result<TensorList> encode(const flux2_vae::VaeModel& model, const Tensor& sample) {
  const Shape& shape = sample.shape();
  const std::int64_t side = model.pixels_per_token();
  if (!model.has_encoder()) {
    return Error{Errc::kUnsupported, "this VAE has no encoder",
                 "give a latent, or use a VAE file that has both halves"};
  }
  if (!is_float(sample.dtype()) || shape.rank() != 4 || shape[0] < 1 || shape[1] != 3 || shape[2] < side ||
      shape[3] < side || shape[2] % side != 0 || shape[3] % side != 0) {
    return Error{Errc::kInvalidArgument,
                 fmt::format("sample {} is not [batch, 3, height, width] with sides that are multiples of {}",
                             to_string(shape), side),
                 ""};
  }
  const at::Tensor raw = model.encode(to_torch(sample));
  return TensorList{{"latent", from_torch(raw)}, {"latent_normalised", from_torch(model.normalised(raw))}};
}

Result<TensorList> decode(const flux2_vae::VaeModel& model, const Tensor& latent) {
  const Shape& shape = latent.shape();
  const std::int64_t channels = shape.rank() == 4 ? shape[1] : 0;
  const bool is_normalised = channels == model.packed_channels();
  if (!is_float(latent.dtype()) || latent.elements() < 1 ||
      (!is_normalised && channels != model.spec().latent_channels)) {
    return Error{Errc::kInvalidArgument,
                 fmt::format("latent {} has neither {} nor {} channels", to_string(shape),
                             model.spec().latent_channels, model.packed_channels()),
                 ""};
  }
  const at::Tensor given = to_torch(latent);
  return TensorList{{"sample", from_torch(model.decode(is_normalised ? model.raw(given) : given))}};
}

}  // namespace

Result<TensorList> forward_vae(const fs::path& path, const TensorList& inputs,
                               const ForwardOptions& options) {
  const Tensor* sample = find(inputs, "sample");
  const Tensor* latent = find(inputs, "latent");
  if ((sample == nullptr) == (latent == nullptr)) {
    return Error{
        Errc::kInvalidArgument, "the inputs of a VAE are either sample or latent",
        "give sample [batch, 3, height, width] to encode or latent [batch, channels, h, w] to decode"};
  }
  PINION_TRY(const flux2_vae::Source source, flux2_vae::open_source(path));
  PINION_TRY(const flux2_vae::VaeModel model, flux2_vae::VaeModel::load(source, options.stage));
  return caught([&]() -> Result<TensorList> {
    const c10::InferenceMode inference;
    return sample != nullptr ? encode(model, *sample) : decode(model, *latent);
  });
}

ForwardKind forward_kind(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const auto json = read_json_object(path / "config.json");
    if (!json.ok()) return ForwardKind::kNone;
    if (json_text(*json, "model_type") == "qwen3") return ForwardKind::kQwen3;
    return json_text(*json, "_class_name") == "AutoencoderKLFlux2" ? ForwardKind::kVae : ForwardKind::kNone;
  }
  const auto weights = Weights::open(path);
  return weights.ok() && weights->contains("bn.running_mean") ? ForwardKind::kVae : ForwardKind::kNone;
}

}  // namespace pinion::models
