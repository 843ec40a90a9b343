#include "pinion/cli/split_flags.h"

#include <charconv>

namespace pinion::cli {
namespace {

constexpr std::string_view kAuto = "auto", kAutoExact = "auto:exact", kAutoTarget = "auto:";
constexpr double kMostTargetDb = 100;

Result<double> parse_target(std::string_view text) {
  double target = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (code != std::errc() || end != text.data() + text.size() || !(target > 0 && target <= kMostTargetDb)) {
    return Error{Errc::kInvalidArgument, "--codec auto:" + std::string(text) + " asks for no target",
                 "use auto, auto:exact, or auto: and an SNR in dB, such as auto:36"};
  }
  return target;
}

Result<void> parse_codecs(const std::string& codec, const std::string& velocity_codec,
                          pipeline::SplitOptions& split) {
  using Auto = pipeline::SplitOptions::Auto;
  if (codec == kAutoExact) {
    split.auto_codec = Auto::kExact;
  } else if (codec == kAuto) {
    split.auto_codec = Auto::kAny;
  } else if (codec.starts_with(kAutoTarget)) {
    split.auto_codec = Auto::kAny;
    PINION_TRY(split.auto_target_db, parse_target(std::string_view(codec).substr(kAutoTarget.size())));
  } else {
    PINION_TRY(split.codec, codec::parse_profile(codec));
  }
  if (velocity_codec.empty()) return {};
  PINION_TRY(split.velocity_codec, codec::parse_profile(velocity_codec));
  const bool is_own_affair = split.auto_codec != Auto::kOff || split.codec.mode == codec::Mode::kCalibrated;
  if (!is_own_affair && split.velocity_codec->mode != codec::Mode::kCalibrated) return {};
  return Error{Errc::kInvalidArgument,
               "--velocity-codec goes with a --codec that is neither auto nor calibrated, and is not itself",
               "leave it out: auto and calibrated choose for the velocity too"};
}

}  // namespace

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
          "cos:C, calibrated:DB, calibrated:64kB (a budget a step), auto (measures, takes the quickest), "
          "auto:DB (of those that are as good as calibrated:DB or better), or auto:exact (raw or lossless)")
      ->envname("PINION_CODEC")
      ->capture_default_str();
  command.add_option(
      "--velocity-codec", velocity_codec,
      "How the velocity returns: as --codec, but neither auto nor calibrated [what suits --codec]");
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
  PINION_TRY_VOID(parse_codecs(codec, velocity_codec, split));
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
