#pragma once
// Noise and noise levels, exactly as diffusers makes them, so that a seed means the same picture.

#include <cstdint>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::models {

// FLUX.2's schedule: `steps` + 1 noise levels from 1 to 0 for a picture of `tokens` latent tokens
// (reference images not counted). Formula: architectures of FLUX.2 in docs/models.md.
std::vector<double> flux2_sigmas(std::int64_t tokens, int steps);

// Standard normal noise [batch, grid tokens, channels], float32 on the CPU: torch's CPU generator seeded with
// `seed`, drawn as [batch, channels, height, width] and then laid out by token.
Tensor initial_noise(std::uint64_t seed, std::int64_t batch, std::int64_t channels, LatentGrid grid);

}  // namespace pinion::models
