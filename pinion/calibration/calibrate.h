#pragma once
// Makes the calibrations of a model's cuts: runs jobs, gathers, solves (docs/calibration.md). The border of
// this folder: no libtorch here.

#include <filesystem>
#include <optional>

#include "pinion/calibration/solve_settings.h"
#include "pinion/codec/calibrated/calibration.h"
#include "pinion/models/stage.h"

namespace pinion::calibration {

struct CalibrateRequest {
  std::filesystem::path model;   // diffusers folder
  std::vector<int> cuts;         // rising
  std::vector<int> worker_cuts;  // those of them across which a worker sends, who does not get the velocity
  std::vector<std::string> prompts;         // of one job each, from the first again if there are more jobs
  int jobs = 0;                             // 0: jobs_for()
  int trials = 4;                           // further jobs that correct and check what was learned; 0: none
  std::vector<double> targets{24, 30, 36};  // in dB, that the trials report
  int steps = 4;
  models::LatentGrid grid;  // of the pictures
  float guidance = 1;       // for models that take it
  std::uint64_t seed = 0;
  // How much errors count as they show in the picture, from 0 (as errors of the velocity) to 1 (only so);
  // where the model has a VAE.
  double picture_weight = 0.9;
  int probes = 1;  // of the sensitivity, a step and job; half of the jobs are probed
  models::StageOptions stage;
  SolveSettings image;  // of the rows that carry the latents
  SolveSettings other;  // of all other rows
};

// Jobs whose pictures have enough rows for a state of so many channels: 32 to 256.
int jobs_for(std::int64_t channels, std::int64_t picture_rows);

// What a target costs and gives, mean over the trials.
struct ExpectedCost {
  double target_db = 0;
  std::vector<double> bits_per_element;  // of each stream
  double job_bytes = 0;                  // all frames of a job
  double output_snr_db = 0;              // of the velocities that come back, as they show in the picture
  // Of the pictures to those of the uncoded run; none where the model has no VAE.
  std::optional<double> mean_psnr_db, worst_psnr_db;
};

// One cut's calibrations: the state tensors in the model's order, then the velocity.
struct CutCalibration {
  int cut = 0;
  std::vector<codec::Calibration> streams;
  std::vector<ExpectedCost> expected;  // by target
};

// What it is doing. `done` of `total` jobs; 0 of 0 where it cannot be counted.
struct CalibrateProgress {
  // In this order, "solve" and "trials" again for each cut: "text", "hash", "load", "pictures",
  // "sensitivity", "jobs", "solve", "trials". Each is told when it begins.
  std::string_view phase;
  int done = 0;
  int total = 0;
};

// `progress` is called often; where it returns false the work ends with kCancelled.
Result<std::vector<CutCalibration>> calibrate(const CalibrateRequest& request,
                                              const std::function<bool(const CalibrateProgress&)>& progress);

}  // namespace pinion::calibration
