#pragma once
// Latents to pictures and back. One Vae is used by one thread at a time.

#include <filesystem>
#include <memory>

#include "pinion/models/stage.h"

namespace pinion::models {

class Vae {
 public:
  virtual ~Vae() = default;

  // 16: the side of the square that one latent token covers.
  virtual std::int64_t pixels_per_token() const = 0;

  // Normalised latents [batch, grid tokens, 128] -> pictures [batch, 3, height, width], float32 on the CPU,
  // nominally in [-1, 1], not clamped.
  virtual Result<Tensor> decode(const Tensor& latents, LatentGrid grid) = 0;

  // J^T c, where J is the derivative of decode() at `latents` and `cotangent` is shaped as its pictures:
  // [batch, grid tokens, 128], float32 on the CPU. Holds the decoder's activations meanwhile.
  virtual Result<Tensor> pull_back(const Tensor& latents, LatentGrid grid, const Tensor& cotangent) = 0;

  // Pictures [batch, 3, height, width] in [-1, 1], sides multiples of 16 -> normalised latents
  // [batch, tokens, 128], float32 on the CPU (the mode of the posterior, not a sample). kUnsupported without
  // an encoder.
  virtual Result<Tensor> encode(const Tensor& pictures) = 0;
};

// Opens the VAE of a diffusers folder (`vae/`), a VAE folder, or a single file (BFL layout; may lack the
// encoder). Errors name the folder or file.
Result<std::unique_ptr<Vae>> open_vae(const std::filesystem::path& path, const StageOptions& options);

}  // namespace pinion::models
