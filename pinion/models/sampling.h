#pragma once
// Noise and noise levels, exactly as diffusers makes them, so that a seed means the same picture. Pure
// functions.

#include <cstdint>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::models {

// FLUX.2's schedule: `steps` + 1 noise levels from 1 to 0 for a picture of `tokens` latent tokens (reference
// images not counted); both at least 1. sigma = e^mu / (e^mu + 1/t - 1) with t from 1 to 1/steps and mu
// linear in `tokens` and `steps` (docs/text_and_vae.md). Computed in float32 in diffusers' order of
// operations, so each value is a float32 and equals diffusers' bit for bit. Take differences of levels in
// float32 to equal its sampler too.
std::vector<double> flux2_sigmas(std::int64_t tokens, int steps);

// Standard normal noise [batch, grid tokens, channels], float32 on the CPU: torch's CPU generator seeded with
// `seed`, drawn at once as [batch, channels, height, width] and then laid out by token. The same bits as
// torch's on this CPU; libtorch's vector units differ from its scalar code in the last bits.
Tensor initial_noise(std::uint64_t seed, std::int64_t batch, std::int64_t channels, LatentGrid grid);

// What initial_noise() draws on this machine, as a name and a checksum (docs/protocol.md, section 5):
// machines of the same name draw the same bits. 18 characters.
std::string noise_generator();

}  // namespace pinion::models
