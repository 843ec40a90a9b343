#include "pinion/client/calibrated_fit.h"

namespace pinion::client {
namespace {

bool has_response(const RemotePlan& plan, int cut) {
  const codec::CalibrationSet::Entry* entry = plan.calibrations.find(cut, plan.picture_tensor);
  return entry != nullptr && entry->calibration->has_response;
}

// "2,5": where the plan's later stages begin.
std::string worker_cuts(const RemotePlan& plan) {
  std::string cuts;
  for (std::size_t stage = 1; stage < plan.stages.size(); ++stage)
    cuts += (stage > 1 ? "," : "") + std::to_string(plan.stages[stage].begin);
  return cuts;
}

}  // namespace

Result<void> check_calibrated(const RemotePlan& plan, const RemoteConstants& constants,
                              const WorkersCan& workers) {
  if (!constants.references.empty() && !workers.take_references) {
    return Error{Errc::kUnsupported,
                 "a worker is too old to take a job with reference pictures coded by a calibration",
                 "update Pinion there, or use --codec fidelity:20"};
  }
  const int first_cut = plan.stages.front().begin;
  for (std::size_t stage = 1; stage < plan.stages.size(); ++stage) {
    const int cut = plan.stages[stage].begin;
    if (!has_response(plan, cut)) continue;
    const std::string of_client = first_cut > 0 ? " --cut " + std::to_string(first_cut) : "";
    return Error{Errc::kInvalidArgument,
                 "the calibration of cut " + std::to_string(cut) +
                     " is for states that the client sends, but here a worker sends them",
                 "make one with `pinion calibrate" + of_client + " --worker-cut " + worker_cuts(plan) + "`"};
  }
  if (has_response(plan, first_cut) && !workers.take_responses) {
    return Error{Errc::kUnsupported,
                 "a worker is too old for the calibration of cut " + std::to_string(first_cut),
                 "update Pinion there, or make one with `pinion calibrate --worker-cut " +
                     std::to_string(first_cut) + "`"};
  }
  return {};
}

}  // namespace pinion::client
