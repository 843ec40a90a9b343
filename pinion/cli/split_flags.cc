#include "pinion/cli/split_flags.h"

namespace pinion::cli {

void SplitFlags::add_to(CLI::App& command) {
  command.add_option("--worker", workers, "HOST[:PORT] of a paired worker; repeat for a chain")
      ->envname("PINION_WORKER");
  command
      .add_option("--cut", cut,
                  "First block of each worker, such as 3 or 2,5; 0: no block here; all: no worker; auto")
      ->capture_default_str();
  command
      .add_option(
          "--codec", codec,
          "How states cross the wire: raw, lossless, bounded:E, bounded:rel:E, int8, int4, fidelity:DB, "
          "cos:C, calibrated:DB, calibrated:64kB (a budget a step), auto (measures, takes the quickest), or "
          "auto:exact (raw or lossless)")
      ->envname("PINION_CODEC")
      ->capture_default_str();
  command.add_option("--calibration", calibration,
                     "File that `pinion calibrate` made, for --codec calibrated:... or auto");
  command
      .add_option("--step-timeout", step_timeout_s,
                  "Seconds after which a step that does not come back fails")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

Result<pipeline::SplitOptions> SplitFlags::parse() const {
  pipeline::SplitOptions split;
  split.cut = cut;
  if (codec == "auto") {
    split.auto_codec = pipeline::SplitOptions::Auto::kAny;
  } else if (codec == "auto:exact") {
    split.auto_codec = pipeline::SplitOptions::Auto::kExact;
  } else {
    PINION_TRY(split.codec, codec::parse_profile(codec));
  }
  const bool is_calibrated = split.codec.mode == codec::Mode::kCalibrated;
  const bool may_be_calibrated = is_calibrated || split.auto_codec == pipeline::SplitOptions::Auto::kAny;
  if (calibration.empty() ? is_calibrated : !may_be_calibrated) {
    return Error{Errc::kInvalidArgument, "--codec calibrated:... and --calibration FILE go together",
                 "make the file with `pinion calibrate`"};
  }
  split.calibration = calibration;
  for (const std::string& worker : workers) {
    PINION_TRY(client::WorkerAddress address, client::parse_worker_address(worker));
    split.workers.push_back(std::move(address));
  }
  split.connect.step_deadline = std::chrono::milliseconds(static_cast<std::int64_t>(step_timeout_s * 1000));
  return split;
}

}  // namespace pinion::cli
