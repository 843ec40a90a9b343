#pragma once
// How much an error of the velocity shows in the picture. Latent channels are far from alike there: of the
// 128 of the tiny model, sixteen directions make four fifths of what is seen.
//
// One object is used by one thread at a time.

#include "pinion/calibration/moments.h"
#include "pinion/models/vae.h"

namespace pinion::calibration {

class PictureMetric {
 public:
  // `vae` outlives this.
  explicit PictureMetric(models::Vae& vae) : vae_(vae) {}

  // Finished latents [1, grid tokens, latent channels]; of large pictures the middle counts. `seed` draws the
  // probe.
  Result<void> add(const Tensor& latents, models::LatentGrid grid, std::uint64_t seed);

  // M [latent channels, latent channels], float64, symmetric, of mean diagonal 1: e M e^T is, but for a
  // factor, the energy that a row e of error adds to the picture where it is neither black nor white, mixed
  // with the energy of e: `weight` (0 to 1) of the one, the rest of the other. The rest is there for errors
  // that no picture shows but that the next steps hear. After one add() at least.
  at::Tensor mean(double weight) const;

 private:
  models::Vae& vae_;
  Gram gradients_;
};

}  // namespace pinion::calibration
