// What a step costs beyond its computing, over loopback: a worker in this process with a model that takes no
// time, a small state, codec raw. Prints a line for TLS and one for plain TCP, and the same as JSON.
//
// Where the time goes: coding and checksums on both sides, two messages, and four changes of thread.

#include <fmt/core.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "pinion/base/log.h"
#include "pinion/client/pairing.h"
#include "pinion/worker/worker.h"
#include "tests/faults/toy_job.h"

namespace {

constexpr int kSteps = 2000;
constexpr int kWarmUpSteps = 200;

struct Overhead {
  double median_ms, min_ms, p90_ms, wire_ms;
};

// Round trip minus the blocks' own time, of every step but the first ones.
pinion::Result<Overhead> measure(const std::filesystem::path& model, const std::string& address, bool plain) {
  pinion::test::ToyJobOptions options;
  options.model = model;
  options.cut = 1;
  options.stages = {{address, 4}};
  options.steps = kSteps;
  options.connect.insecure_loopback = plain;
  PINION_TRY(const pinion::test::ToyJobOutcome outcome, pinion::test::run_toy_job(options));
  std::vector<double> overheads;
  std::vector<double> wires;
  for (std::size_t i = kWarmUpSteps; i < outcome.steps.size(); ++i) {
    const pinion::client::RemoteStep& step = outcome.steps[i];
    overheads.push_back(step.round_trip_ms - step.hops.front().compute_ms);
    wires.push_back(step.hops.front().wire_ms + step.hops.back().wire_ms);
  }
  std::sort(overheads.begin(), overheads.end());
  std::sort(wires.begin(), wires.end());
  const std::size_t count = overheads.size();
  return Overhead{overheads[count / 2], overheads.front(), overheads[count * 9 / 10], wires[count / 2]};
}

int fail(const pinion::Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return 1;
}

}  // namespace

int main() {
  pinion::start_log("warn");
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "pinion_worker_overhead_bench";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "models");
  const std::filesystem::path model = folder / "models" / "idle.toy";
  pinion::test::write_toy_model(model, 4, 0, "bench");
  ::setenv("PINION_CONFIG_DIR", (folder / "client").c_str(), 1);
  ::setenv("PINION_CACHE_DIR", (folder / "client_cache").c_str(), 1);

  std::promise<std::string> line;
  pinion::worker::WorkerOptions options;
  options.listen.bind = {"127.0.0.1", 0};
  options.listen.allow_plain_loopback = true;
  options.config_folder = folder / "worker";
  options.models = {folder / "models"};
  options.on_pairing_line = [&line](const std::string& text) { line.set_value(text); };
  auto worker = pinion::worker::Worker::open(std::move(options), pinion::test::toy_backend());
  if (!worker.ok()) return fail(worker.error());
  std::thread serving([&] { (*worker)->run(); });

  int exit_code = 0;
  nlohmann::ordered_json report = nlohmann::ordered_json::array();
  const auto paired = pinion::client::pair_with(line.get_future().get(), folder / "client");
  if (!paired.ok()) exit_code = fail(paired.error());
  for (const bool plain : {false, true}) {
    if (exit_code != 0) break;
    const auto overhead = measure(model, to_string((*worker)->address()), plain);
    if (!overhead.ok()) {
      exit_code = fail(overhead.error());
      break;
    }
    const char* name = plain ? "plain TCP" : "TLS 1.3";
    fmt::print(
        "{:<10} beyond compute: median {:.3f} ms, min {:.3f}, 90th percentile {:.3f}; on the wire {:.3f} "
        "ms\n",
        name, overhead->median_ms, overhead->min_ms, overhead->p90_ms, overhead->wire_ms);
    report.push_back({{"name", name},
                      {"steps", kSteps - kWarmUpSteps},
                      {"median_ms", overhead->median_ms},
                      {"min_ms", overhead->min_ms},
                      {"p90_ms", overhead->p90_ms},
                      {"wire_ms", overhead->wire_ms}});
  }
  fmt::print("{}\n", report.dump());
  (*worker)->stop();
  serving.join();
  std::filesystem::remove_all(folder);
  return exit_code;
}
