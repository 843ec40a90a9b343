#pragma once
// From sums to the linear model of a calibration (docs/calibration.md has the derivation). Pure functions on
// libtorch, float64.
//
// Row-vector convention: with h a state's row of d channels and f its features,
//   y = (h - mean_t) P^T, predicted as [y_{t-1} | f - feature_mean_t] A_t, and h is rebuilt as mean_t + y R.

#include <vector>

#include "pinion/base/result.h"
#include "pinion/calibration/gather.h"

namespace pinion::calibration {

struct SolveSettings {
  int components = 256;          // K, at most the channels
  double regularisation = 0.02;  // of the sensitivity: times its mean eigenvalue is added to all
  double ridge = 1e-4;           // of the predictors, times the mean variance of their inputs
  double reference_step = 0.12;  // the quantiser step whose noise the predictors expect, in y's units
};

// One step of the schedule.
struct StepModel {
  at::Tensor mean;          // [d] of the state
  at::Tensor feature_mean;  // [f]; f is 0 without latents, n at the first step, 2n after it
  at::Tensor predictor;     // A_t, [(K after the first step) + f, K]
  at::Tensor deviations;    // [K] of y about its prediction
};

struct StreamModel {
  at::Tensor projection;      // P, [K, d]: components by falling variance of what prediction leaves
  at::Tensor reconstruction;  // R, [K, d]
  std::vector<StepModel> steps;
};

// `latent_channels` is n; sums must hold more rows than they are wide, else kInvalidArgument.
Result<StreamModel> solve_stream(const StreamSums& sums, std::int64_t latent_channels,
                                 const SolveSettings& settings);

// The velocity, predicted from the decoded state's components and the latents; its own error is what counts,
// so P is a rotation of all n channels.
Result<StreamModel> solve_velocity(const StreamSums& sums, const StreamModel& state,
                                   std::int64_t latent_channels, const SolveSettings& settings);

}  // namespace pinion::calibration
