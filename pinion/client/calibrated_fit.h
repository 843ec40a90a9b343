#pragma once
// Whether a job can be coded by a plan's calibrations, as far as the plan, the job's constants and what the
// workers can do tell. Pure.

#include "pinion/client/remote_job.h"

namespace pinion::client {

// Optional features that all workers of the chain have (docs/protocol.md, section 3).
struct WorkersCan {
  bool take_references = false;  // in calibrated jobs
  bool take_responses = false;   // calibrations with one
  bool take_maps = false;        // frames of mode mapped
};

// kUnsupported where a worker is too old, kInvalidArgument where a worker sends states whose calibration is
// for the client's. That each stream has a calibration is not looked at.
Result<void> check_calibrated(const RemotePlan& plan, const RemoteConstants& constants,
                              const WorkersCan& workers);

}  // namespace pinion::client
