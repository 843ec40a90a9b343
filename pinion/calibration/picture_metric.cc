#include "pinion/calibration/picture_metric.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>

#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

using models::from_torch;
using models::to_torch;

// Tokens a side: the decoder's activations are held, some gigabytes for 512 x 512 pixels of a large VAE.
constexpr std::int64_t kMostSide = 32;

// The middle of the grid.
at::Tensor crop(const at::Tensor& latents, models::LatentGrid grid, models::LatentGrid part) {
  return latents.unflatten(1, {grid.height, grid.width})
      .narrow(1, (grid.height - part.height) / 2, part.height)
      .narrow(2, (grid.width - part.width) / 2, part.width)
      .flatten(1, 2)
      .contiguous();
}

}  // namespace

Result<void> PictureMetric::add(const Tensor& latents, models::LatentGrid grid, std::uint64_t seed) {
  return models::caught([&]() -> Result<void> {
    const models::LatentGrid part{std::min(grid.height, kMostSide), std::min(grid.width, kMostSide)};
    const Tensor seen = from_torch(crop(to_torch(latents), grid, part));
    PINION_TRY(const Tensor picture, vae_.decode(seen, part));
    const at::Tensor pixels = to_torch(picture);
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    // Beyond black and white nothing is seen.
    const at::Tensor probe =
        at::randn(pixels.sizes(), generator, at::TensorOptions(at::kFloat)) * (pixels.abs() <= 1);
    PINION_TRY(const Tensor gradient, vae_.pull_back(seen, part, from_torch(probe)));
    gradients_.add(to_torch(gradient).flatten(0, 1));
    return {};
  });
}

at::Tensor PictureMetric::mean(double weight) const {
  const at::Tensor seen = gradients_.mean();
  const at::Tensor one = at::eye(seen.size(0), seen.options());
  const double scale = seen.diagonal().mean().item<double>();
  if (!(scale > 0)) return one;
  return seen * (weight / scale) + one * (1 - weight);
}

}  // namespace pinion::calibration
