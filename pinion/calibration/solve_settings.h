#pragma once
// How a calibration is solved (docs/calibration.md, section The algorithm). No libtorch here.

namespace pinion::calibration {

struct SolveSettings {
  int components = 0;            // K, at most the channels; 0: as many as `reach_db` takes
  double reach_db = 46;          // output SNR that must be left once all components are exact
  double regularisation = 0.02;  // of the sensitivity: times its mean eigenvalue is added to all
  double ridge = 3e-5;           // of the predictors, times the mean variance of their inputs; raised
                                 // until they drift no more than kMaxDrift
  // Of rows that carry the latents: whether their sender takes the mean response to its errors out of the
  // velocity again. Only who gets the velocity can.
  bool is_corrected = true;
  double explained_weight = 0.03;  // how much errors count that are taken out again
  double reference_step = 0.005;   // the quantiser step whose noise is expected, in y's units; if larger than
                                   // those in use, it leaves errors that no step can mend
};

}  // namespace pinion::calibration
