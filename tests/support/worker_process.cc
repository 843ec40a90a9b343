#include "tests/support/worker_process.h"

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

namespace pinion::test {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStartLimit{60'000};  // libtorch with CUDA takes seconds to load on a busy machine

}  // namespace

WorkerProcess::WorkerProcess(const WorkerSettings& settings) {
  const std::string ready_file = settings.home + "/ready.json";
  std::vector<std::string> arguments{pinion_program(), "worker",        "--port",   "0",
                                     "--device",       settings.device, "--models", settings.models,
                                     "--ready-file",   ready_file};
  arguments.insert(arguments.end(), settings.more_arguments.begin(), settings.more_arguments.end());
  process_ = std::make_unique<ChildProcess>(arguments, settings_in(settings.home));
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  while (true) {
    std::ifstream file(ready_file);
    const nlohmann::json ready = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (ready.is_object()) {
      address_ = ready.at("address").get<std::string>();
      pairing_line_ = ready.at("pairing_line").get<std::string>();
      return;
    }
    if (!process_->running() || std::chrono::steady_clock::now() > deadline) {
      process_->wait(milliseconds(100));
      throw std::runtime_error("the worker did not start: " + process_->out() + process_->err());
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
}

void WorkerProcess::pair(const std::string& client_home) const {
  const ProcessResult result =
      run_process({pinion_program(), "pair", pairing_line_}, settings_in(client_home), milliseconds(30'000));
  if (result.exit_code != 0) throw std::runtime_error("pairing failed: " + result.err);
}

std::map<std::string, std::string> settings_in(const std::string& home) {
  return {{"PINION_CONFIG_DIR", home + "/config"}, {"PINION_CACHE_DIR", home + "/cache"}};
}

std::string test_device() {
  const char* device = std::getenv("PINION_TEST_DEVICE");
  return device != nullptr ? device : "cpu";
}

}  // namespace pinion::test
