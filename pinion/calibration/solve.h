#pragma once
// From sums to the linear model of a calibration (docs/calibration.md has the derivation). Pure functions on
// libtorch, float64, computed on `device`, where the model's tensors are left. A wide state takes a device
// with some gigabytes to spare (docs/calibration.md, section Time and memory): kOutOfMemory if it has not.
//
// Row-vector convention. With h a row of d channels, x its latents, u = x - latent_mean and
// w = (x_t - x_{t-1}) / (sigma_t - sigma_{t-1}) - change_mean:
//   y = (h - mean) P, predicted as u ALONE, or as [y_{t-1} | u | w] HISTORY, and h is rebuilt as
//   mean + [y | u] R.

#include <vector>

#include "pinion/base/result.h"
#include "pinion/calibration/gather.h"
#include "pinion/calibration/solve_settings.h"

namespace pinion::calibration {

// Most that the predictors of a schedule may stretch a difference between the two ends (docs/calibration.md,
// section Drift).
inline constexpr double kMaxDrift = 32;

struct Prediction {
  at::Tensor matrix;      // [features, K]
  at::Tensor deviations;  // [K] of y about it
};

// One step of the schedule. L is the latent channels, or 0 for rows without latents.
struct StepModel {
  at::Tensor mean;         // [d]
  at::Tensor latent_mean;  // [L]
  at::Tensor change_mean;  // [L]; zeros at the first step
  Prediction alone;        // from u
  Prediction history;      // from [y_{t-1} | u | w], without y where the stream has no history; at the
                           // first step that of the second
  // Energies of the velocity, in the metric that was given:
  at::Tensor gain;           // [K] per squared error of y
  double floor = 0;          // of a row's error that stays when y is exact
  double output_energy = 0;  // of a row of the velocity about its mean
  at::Tensor loudness;       // [d], where rows have it: a row counts 2^(bias + (row - mean) . loudness) times
  double loudness_bias = 0;
  at::Tensor
      response;  // [d, L], where errors are corrected: the velocity's mean response to an error of a row
};

struct StreamModel {
  bool has_history = true;
  at::Tensor projection;      // P, [d, K]: components by falling variance of what prediction leaves
  at::Tensor reconstruction;  // R, [K + L, d]
  std::vector<StepModel> steps;
};

// The model of a state tensor. `output` is of the tensor whose rows carry the latents (and the velocity);
// `sums` and `output` may be the same. `metric` [latent channels, latent channels] is the one that the
// sensitivity was gathered in (Gatherer::set_metric). kInvalidArgument if there were fewer rows than they are
// wide. Where errors are corrected, gain, floor and what counts for the projection are of what is left then.
Result<StreamModel> solve_state(const StreamSums& sums, const StreamSums& output, const at::Tensor& metric,
                                const SolveSettings& settings, at::Device device = at::kCPU);

// The model of the velocity, whose own error is what counts.
Result<StreamModel> solve_velocity(const StreamSums& output, const at::Tensor& metric,
                                   const SolveSettings& settings, at::Device device = at::kCPU);

}  // namespace pinion::calibration
