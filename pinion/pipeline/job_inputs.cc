#include "pinion/pipeline/job_inputs.h"

#include <cstring>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"
#include "pinion/models/sampling.h"
#include "pinion/models/text_encoder.h"
#include "pinion/models/vae.h"

namespace pinion::pipeline {
namespace {

constexpr int kPixelsPerToken = 16;
constexpr std::int64_t kMaxReferencePixels = 1024 * 1024;

// The one tensor of that name from a file, as float32.
Result<Tensor> read_float_tensor(const std::filesystem::path& path, std::string_view tensor_name) {
  PINION_TRY(const SafetensorsFile file, SafetensorsFile::open(path));
  PINION_TRY(const Tensor tensor, file.tensor(tensor_name));
  if (!is_float(tensor.dtype())) {
    return Error{Errc::kInvalidArgument,
                 path.string() + ": " + std::string(tensor_name) + " is " +
                     std::string(name(tensor.dtype())) + ", not floating point",
                 ""};
  }
  return as_float32(tensor);
}

// [1, ...] repeated to [batch, ...].
Tensor repeat_batch(const Tensor& tensor, std::int64_t batch) {
  if (tensor.shape()[0] == batch) return tensor;
  std::vector<std::int64_t> extents(tensor.shape().extents().begin(), tensor.shape().extents().end());
  extents[0] = batch;
  Tensor repeated = Tensor::empty(tensor.dtype(), Shape(std::span<const std::int64_t>(extents)));
  for (std::int64_t b = 0; b < batch; ++b) {
    std::memcpy(repeated.mutable_data() + static_cast<std::size_t>(b) * tensor.bytes(), tensor.view().data,
                tensor.bytes());
  }
  return repeated;
}

Result<Tensor> read_embeds(const GenerateRequest& request, const models::ModelInfo& model) {
  PINION_TRY(const Tensor embeds, read_float_tensor(request.embeds, "prompt_embeds"));
  const Shape& shape = embeds.shape();
  const bool batch_fits = shape.rank() == 3 && (shape[0] == 1 || shape[0] == request.batch);
  if (!batch_fits || shape[1] == 0 || shape[2] != model.context_channels) {
    return Error{Errc::kInvalidArgument,
                 request.embeds.string() + ": prompt_embeds has shape " + to_string(shape) +
                     ", this model takes [1 or " + std::to_string(request.batch) + ", tokens, " +
                     std::to_string(model.context_channels) + "]",
                 ""};
  }
  return repeat_batch(embeds, request.batch);
}

// Latents of diffusers' layout [batch, channels, height, width] by token.
Result<Tensor> read_latents(const GenerateRequest& request, const models::ModelInfo& model,
                            models::LatentGrid grid) {
  PINION_TRY(const Tensor latents, read_float_tensor(request.latents, "latents"));
  const Shape wanted{request.batch, model.latent_channels, grid.height, grid.width};
  if (latents.shape() != wanted) {
    return Error{Errc::kInvalidArgument,
                 request.latents.string() + ": latents has shape " + to_string(latents.shape()) +
                     ", this job takes " + to_string(wanted),
                 ""};
  }
  Tensor by_token = Tensor::empty(DType::kF32, {request.batch, grid.tokens(), model.latent_channels});
  const auto* from = reinterpret_cast<const float*>(latents.view().data);
  auto* to = reinterpret_cast<float*>(by_token.mutable_data());
  for (std::int64_t b = 0; b < request.batch; ++b) {
    for (std::int64_t c = 0; c < model.latent_channels; ++c) {
      for (std::int64_t t = 0; t < grid.tokens(); ++t) {
        to[(b * grid.tokens() + t) * model.latent_channels + c] = *from++;
      }
    }
  }
  return by_token;
}

struct References {
  std::vector<models::LatentGrid> grids;
  Tensor latents;  // [batch, all reference tokens, channels]
};

Result<References> encode_references(const GenerateRequest& request, std::int64_t channels) {
  References references;
  if (request.references.empty()) return references;
  PINION_TRY(const auto vae,
             models::open_vae(request.model, {.device = request.device, .dtype = DType::kF32}));
  std::vector<Tensor> parts;
  std::int64_t tokens = 0;
  for (const std::filesystem::path& path : request.references) {
    PINION_TRY(const Picture picture, read_png(path));
    if (picture.width < kPixelsPerToken || picture.height < kPixelsPerToken) {
      return Error{Errc::kInvalidArgument, path.string() + " is smaller than 16 by 16 pixels",
                   "use a larger reference picture"};
    }
    const Picture fitted = fit_reference(picture, kPixelsPerToken, kMaxReferencePixels);
    PINION_TRY(Tensor latents, vae->encode(to_tensor(fitted)));
    references.grids.push_back({fitted.height / kPixelsPerToken, fitted.width / kPixelsPerToken});
    tokens += references.grids.back().tokens();
    parts.push_back(std::move(latents));
  }
  Tensor joined = Tensor::empty(DType::kF32, {1, tokens, channels});
  std::byte* to = joined.mutable_data();
  for (const Tensor& part : parts) {
    std::memcpy(to, part.view().data, part.bytes());
    to += part.bytes();
  }
  references.latents = repeat_batch(joined, request.batch);
  return references;
}

}  // namespace

Result<JobInputs> prepare_inputs(const GenerateRequest& request, const models::ModelInfo& model) {
  const models::LatentGrid grid{*request.height / kPixelsPerToken, *request.width / kPixelsPerToken};
  // A model that takes no guidance value is guided by a second, negative pass.
  const bool two_passes = !model.takes_guidance && *request.guidance > 1.0 && request.embeds.empty();

  Tensor context, negative_context;
  if (!request.embeds.empty()) {
    PINION_TRY(context, read_embeds(request, model));
  } else {
    PINION_TRY(const auto encoder,
               models::open_text_encoder(request.model, {.device = request.device, .dtype = *request.dtype}));
    PINION_TRY(const Tensor positive, encoder->encode({request.prompt}));
    context = repeat_batch(positive, request.batch);
    if (two_passes) {
      PINION_TRY(const Tensor negative, encoder->encode({""}));
      negative_context = repeat_batch(negative, request.batch);
    }
  }
  PINION_TRY(References references, encode_references(request, model.latent_channels));

  JobInputs inputs;
  inputs.positive = {.batch = request.batch,
                     .grid = grid,
                     .references = references.grids,
                     .text_tokens = context.shape()[1],
                     .guidance = {},
                     .context = context,
                     .reference_latents = references.latents};
  if (model.takes_guidance)
    inputs.positive.guidance.assign(static_cast<std::size_t>(request.batch),
                                    static_cast<float>(*request.guidance));
  if (two_passes) {
    inputs.negative = inputs.positive;
    inputs.negative->context = negative_context;
    inputs.negative->text_tokens = negative_context.shape()[1];
  }
  if (request.latents.empty()) {
    inputs.noise = models::initial_noise(request.seed, request.batch, model.latent_channels, grid);
    inputs.noise_seed = client::NoiseSeed{models::noise_generator(), request.seed};
  } else {
    PINION_TRY(inputs.noise, read_latents(request, model, grid));
  }
  return inputs;
}

}  // namespace pinion::pipeline
