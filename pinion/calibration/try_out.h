#pragma once
// The last steps of a calibration: what was solved for a cut meets jobs that it has not seen, is corrected by
// them, and says what each target will cost (docs/calibration.md, steps 9 and 10).

#include "pinion/calibration/calibrate.h"
#include "pinion/calibration/trial.h"
#include "pinion/models/vae.h"

namespace pinion::calibration {

// How often it calls `after_step`.
int try_out_steps(const CalibrateRequest& request, bool has_vae);

// Corrects `streams` by `jobs`, of which there is at least one. The costs of the request's targets; without
// pictures if `vae` is null.
Result<std::vector<ExpectedCost>> try_out(Trial& trial, models::Vae* vae, const CalibrateRequest& request,
                                          const std::vector<TrialJob>& jobs,
                                          const Trial::AfterStep& after_step,
                                          std::vector<codec::Calibration>& streams);

}  // namespace pinion::calibration
