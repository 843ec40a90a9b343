#pragma once
// The checks of `pinion doctor`: each looks at one part of this machine and says what it found. No check
// changes anything, needs the network or computes; none fails.

#include <filesystem>
#include <string>
#include <vector>

namespace pinion::cli {

enum class Level {
  kOk,
  kWarn,     // works, but not as well as it could
  kMissing,  // something will fail
};

struct Finding {
  Level level = Level::kOk;
  std::string what;    // "memory"
  std::string detail;  // what was found
  std::string advice;  // what to do; empty if ok
};

std::vector<Finding> check_processor();  // features, cores, memory
std::vector<Finding> check_compute();    // libtorch, CUDA driver and devices
std::vector<Finding> check_network();    // OpenSSL, the worker's default port
std::vector<Finding> check_folders();    // configuration and cache: permissions, space; who is paired
std::vector<Finding> check_models(const std::filesystem::path& folder);

}  // namespace pinion::cli
