#include "pinion/models/sampling.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstdio>

#include "pinion/base/crc32c.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models {
namespace {

// The shift of the schedule, fitted by the model's makers at 10 and at 200 steps. From one token count on the
// number of steps no longer matters.
double flux2_mu(std::int64_t tokens, int steps) {
  constexpr double kSlope10 = 8.73809524e-05, kOffset10 = 1.89833333;
  constexpr double kSlope200 = 0.00016927, kOffset200 = 0.45666666;
  constexpr std::int64_t kManyTokens = 4300;
  const auto s = static_cast<double>(tokens);
  const double at_200 = kSlope200 * s + kOffset200;
  if (tokens > kManyTokens) return at_200;
  const double at_10 = kSlope10 * s + kOffset10;
  const double slope = (at_200 - at_10) / 190.0;
  return slope * steps + (at_200 - 200.0 * slope);
}

}  // namespace

std::vector<double> flux2_sigmas(std::int64_t tokens, int steps) {
  PINION_ASSERT(tokens >= 1 && steps >= 1);
  const auto shift = static_cast<float>(std::exp(flux2_mu(tokens, steps)));
  const double last = 1.0 / steps;
  std::vector<double> sigmas;
  for (int i = 0; i < steps; ++i) {
    const double linear = steps == 1 ? 1.0 : i * ((last - 1.0) / (steps - 1)) + 1.0;
    const auto t = static_cast<float>(steps > 1 && i + 1 == steps ? last : linear);
    sigmas.push_back(shift / (shift + (1.0f / t - 1.0f)));
  }
  sigmas.push_back(0.0);
  return sigmas;
}

Tensor initial_noise(std::uint64_t seed, std::int64_t batch, std::int64_t channels, LatentGrid grid) {
  const c10::InferenceMode inference;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const at::Tensor noise = at::randn({batch, channels, grid.height, grid.width}, generator, at::kFloat);
  return from_torch(noise.flatten(2).transpose(1, 2));
}

std::string noise_generator() {
  const Tensor sample = initial_noise(0, 1, 64, {8, 8});
  const std::uint32_t sum = crc32c({sample.view().data, sample.bytes()});
  char digits[9];
  std::snprintf(digits, sizeof(digits), "%08x", sum);
  return std::string("torch-cpu:") + digits;
}

}  // namespace pinion::models
