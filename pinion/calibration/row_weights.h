#pragma once
// How much each row of a state without latents counts when its sensitivity is averaged: by the energy that
// prediction from the step before leaves of it. Few rows of a text vary (those of the prompt, not of its
// padding), and those are the ones that the rest of the model hears. Immutable once made.

#include "pinion/calibration/moments.h"

namespace pinion::calibration {

class RowWeights {
 public:
  // `steps` are moments of rows joined from h_t and, from the second step on, h_{t-1}; d is `channels`.
  RowWeights(const std::vector<Moments>& steps, std::int64_t channels);

  // The square root of each row's left energy over the mean, [rows, 1]. `before` is undefined at step 0.
  at::Tensor of(std::size_t step, const at::Tensor& now, const at::Tensor& before) const;

 private:
  struct Step {
    at::Tensor mean, before_mean, predictor;  // the last two undefined at the first step
    double left = 1;                          // mean energy of what is left of a row
  };
  std::vector<Step> steps_;
};

}  // namespace pinion::calibration
