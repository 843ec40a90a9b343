#pragma once
// Makes the calibrations of a model's cuts: runs jobs, gathers, solves (docs/calibration.md). The border of
// this folder: no libtorch here.

#include <filesystem>

#include "pinion/calibration/solve_settings.h"
#include "pinion/codec/calibrated/calibration.h"
#include "pinion/models/stage.h"

namespace pinion::calibration {

struct CalibrateRequest {
  std::filesystem::path model;       // diffusers folder
  std::vector<int> cuts;             // rising
  std::vector<std::string> prompts;  // of one job each, from the first again if there are more jobs
  int jobs = 32;
  int steps = 4;
  models::LatentGrid grid;  // of the pictures
  float guidance = 1;       // for models that take it
  std::uint64_t seed = 0;
  int probes = 1;  // of the sensitivity, a step and job; half of the jobs are probed
  models::StageOptions stage;
  SolveSettings image;  // of the rows that carry the latents
  SolveSettings other;  // of all other rows
};

// One cut's calibrations: the state tensors in the model's order, then the velocity.
struct CutCalibration {
  int cut = 0;
  std::vector<codec::Calibration> streams;
};

// What it is doing. `done` of `total` jobs; 0 of 0 where it cannot be counted.
struct CalibrateProgress {
  std::string_view phase;  // "text", "load", "jobs", "sensitivity", "solve"
  int done = 0;
  int total = 0;
};

// `progress` is called often; where it returns false the work ends with kCancelled.
Result<std::vector<CutCalibration>> calibrate(const CalibrateRequest& request,
                                              const std::function<bool(const CalibrateProgress&)>& progress);

}  // namespace pinion::calibration
