#include "pinion/calibration/try_out.h"

#include <algorithm>
#include <cmath>

#include "pinion/models/torch_bridge.h"

namespace pinion::calibration {
namespace {

// The target at which predicted and measured errors are made to agree.
constexpr double kCorrectionDb = 30;
// The second correction starts from the quantiser steps that the first leads to.
constexpr int kCorrections = 2;

// [-1, 1] is what is shown of a picture.
double psnr_db(const Tensor& a, const Tensor& b) {
  const auto shown = [](const Tensor& picture) {
    return models::to_torch(picture).clamp(-1, 1).to(at::kDouble);
  };
  const double mean_square = (shown(a) - shown(b)).pow(2).mean().item<double>();
  return 10 * std::log10(4 / std::max(mean_square, 1e-12));
}

ExpectedCost cost_of(const TrialResult& result) {
  ExpectedCost cost;
  cost.target_db = result.target_db;
  cost.output_snr_db = result.output_snr_db;
  for (const StreamTrial& stream : result.streams) {
    cost.bits_per_element.push_back(8 * stream.frame_bytes / stream.elements);
    cost.job_bytes += stream.frame_bytes / static_cast<double>(result.latents.size());
  }
  return cost;
}

}  // namespace

int try_out_steps(const CalibrateRequest& request, bool has_vae) {
  const int runs = kCorrections + (has_vae ? 1 : 0) + static_cast<int>(request.targets.size());
  return runs * request.trials * request.steps;
}

Result<std::vector<ExpectedCost>> try_out(Trial& trial, models::Vae* vae, const CalibrateRequest& request,
                                          const std::vector<TrialJob>& jobs,
                                          const Trial::AfterStep& after_step,
                                          std::vector<codec::Calibration>& streams) {
  for (int i = 0; i < kCorrections; ++i) {
    PINION_TRY(const TrialResult result,
               trial.run(streams, kCorrectionDb, jobs, Trial::Measures::kEachStream, after_step));
    correct(streams, result);
  }
  std::vector<Tensor> pictures;
  for (const TrialJob& job : jobs) {
    if (vae == nullptr) break;
    PINION_TRY(const Tensor latents, trial.run_uncoded(job, after_step));
    PINION_TRY(pictures.emplace_back(), vae->decode(latents, request.grid));
  }
  std::vector<ExpectedCost> costs;
  for (const double target : request.targets) {
    PINION_TRY(const TrialResult result,
               trial.run(streams, target, jobs, Trial::Measures::kAllTogether, after_step));
    ExpectedCost& cost = costs.emplace_back(cost_of(result));
    for (std::size_t job = 0; job < pictures.size(); ++job) {
      PINION_TRY(const Tensor picture, vae->decode(result.latents[job], request.grid));
      const double psnr = psnr_db(pictures[job], picture);
      cost.mean_psnr_db = cost.mean_psnr_db.value_or(0) + psnr / static_cast<double>(pictures.size());
      cost.worst_psnr_db = std::min(cost.worst_psnr_db.value_or(psnr), psnr);
    }
  }
  return costs;
}

}  // namespace pinion::calibration
