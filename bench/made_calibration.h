#pragma once
// A made stream of calibrated states, with its calibration: components whose deviations fall as those of a
// model do, slow from step to step, carried by latents in part, and noise that nothing hears. Pure functions.

#include <memory>
#include <vector>

#include "pinion/codec/calibrated/calibrated_codec.h"

namespace pinion::bench {

struct MadeForm {
  std::size_t rows = 1024;
  std::size_t channels = 1024;
  std::size_t components = 256;
  std::size_t latents = 128;
  std::size_t steps = 4;
};

struct MadeStep {
  Tensor tensor;  // bfloat16, [rows, channels]
  std::vector<float> latents, previous_latents;
  float sigma = 1;
  std::optional<float> previous_sigma;

  codec::StepContext context() const {
    return {sigma, previous_sigma, latents, previous_latents, tensor.shape()[0]};
  }
};

struct MadeStream {
  std::shared_ptr<const codec::Calibration> calibration;  // as it is after it was written and read
  std::vector<MadeStep> steps;
};

MadeStream make_stream(const MadeForm& form);

}  // namespace pinion::bench
