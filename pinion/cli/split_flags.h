#pragma once
// --worker, --cut, --codec, --velocity-codec, --calibration and --step-timeout, which every command that can
// split a model shares.

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "pinion/pipeline/placed_model.h"

namespace pinion::cli {

struct SplitFlags {
  std::vector<std::string> workers;
  std::string cut = "auto";
  std::string codec = "raw";
  std::string velocity_codec;
  std::filesystem::path calibration;
  double step_timeout_s = 600;

  // `this` must outlive the parsing.
  void add_to(CLI::App& command);

  // The parsed flags, or which one is wrong.
  Result<pipeline::SplitOptions> parse() const;
};

}  // namespace pinion::cli
