// pinion worker: the daemon that runs blocks for clients.

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "pinion/base/file_io.h"
#include "pinion/base/log.h"
#include "pinion/base/user_folders.h"
#include "pinion/cli/command.h"
#include "pinion/cli/interrupt.h"
#include "pinion/models/model_list.h"
#include "pinion/models/sampling.h"
#include "pinion/worker/worker.h"

namespace pinion::cli {
namespace {

struct WorkerFlags {
  std::string bind = "127.0.0.1";
  std::uint16_t port = transport::kDefaultPort;
  std::string public_host;
  std::string device = "cpu";
  std::vector<std::filesystem::path> models{"models"};
  double memory_gb = 0;
  std::filesystem::path ready_file;
  bool insecure_loopback = false;
  bool json = false;
};

worker::Backend model_backend() {
  worker::Backend backend;
  backend.list = [](const std::filesystem::path& path) -> Result<std::vector<std::filesystem::path>> {
    PINION_TRY(const models::ModelList list, models::list_models(path, false));
    std::vector<std::filesystem::path> paths;
    for (const models::ListedModel& model : list.models) paths.push_back(model.path);
    return paths;
  };
  backend.open = models::open_model;
  backend.to_cpu = models::to_cpu;
  backend.noise = {models::noise_generator(), models::initial_noise};
  return backend;
}

// Says on standard output, and in the ready file, where the worker is and how to pair with it.
void announce(const WorkerFlags& flags, const std::string& address, const std::string& line) {
  const nlohmann::ordered_json facts{
      {"event", "pairing_line"}, {"address", address}, {"device", flags.device}, {"pairing_line", line}};
  if (flags.json) {
    fmt::print("{}\n", facts.dump());
  } else {
    fmt::print("worker at {} on {}\npair with: pinion pair '{}'\n", address, flags.device, line);
  }
  std::fflush(stdout);
  if (flags.ready_file.empty()) return;
  const Result<void> written = write_file(flags.ready_file, as_bytes(facts.dump() + "\n"), 0600);
  if (!written.ok()) spdlog::error("{}", written.error().message());
}

int run_worker(const WorkerFlags& flags) {
  const std::optional<Device> device = device_from_name(flags.device);
  if (!device) {
    return report(
        {Errc::kInvalidArgument, "no device is called \"" + flags.device + "\"", "use cpu or cuda:0"});
  }
  worker::WorkerOptions options;
  options.listen.bind = {flags.bind, flags.port};
  options.listen.allow_plain_loopback = flags.insecure_loopback;
  options.public_host = flags.public_host;
  options.config_folder = config_folder();
  options.bases_folder = cache_folder() / "bases";
  options.models = flags.models;
  options.stages.device = *device;
  options.stages.max_weight_bytes = static_cast<std::size_t>(flags.memory_gb * 1e9);
  std::unique_ptr<worker::Worker> worker;
  options.on_pairing_line = [&](const std::string& line) {
    announce(flags, to_string(worker->address()), line);
  };

  const InterruptWatch interrupts([&worker] {
    if (worker) worker->stop();
  });
  Result<std::unique_ptr<worker::Worker>> opened = worker::Worker::open(std::move(options), model_backend());
  if (!opened.ok()) return report(opened.error());
  worker = std::move(opened).value();
  worker->run();
  spdlog::info("stopped");
  // What is being computed or hashed is of no use to anybody now, and may take minutes.
  std::fflush(nullptr);
  std::_Exit(kDone);
}

}  // namespace

void add_worker_command(CLI::App& app, Action& action) {
  auto flags = std::make_shared<WorkerFlags>();
  CLI::App* command =
      app.add_subcommand("worker", "Run blocks for clients that were paired with this machine");
  command->add_option("--bind", flags->bind, "Address to listen on; 0.0.0.0 for all of this machine's")
      ->envname("PINION_BIND")
      ->capture_default_str();
  command->add_option("--port", flags->port, "Port to listen on; 0 for any free one")
      ->envname("PINION_PORT")
      ->capture_default_str();
  command->add_option("--public-host", flags->public_host,
                      "Name or address of this machine in the pairing line, if clients know it by another");
  command->add_option("--device", flags->device, "cpu or cuda:N")
      ->envname("PINION_DEVICE")
      ->capture_default_str();
  command->add_option("--models", flags->models, "Folders with models, or models")
      ->envname("PINION_MODELS")
      ->capture_default_str();
  command
      ->add_option("--memory", flags->memory_gb, "Weights to hold at most, in GB; 0 for what the device has")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--ready-file", flags->ready_file,
                      "File to write address and pairing line into (JSON), once they are known");
  command->add_flag("--insecure-loopback", flags->insecure_loopback,
                    "Also take plain TCP from this machine: every local user may then use the worker");
  command->add_flag("--json", flags->json, "Print JSON lines, for programs");
  command->callback([&app, flags, &action] {
    action = [&app, flags] {
      // A daemon's log is worth reading by default.
      const CLI::Option* log = app.get_option_no_throw("--log");
      if (log == nullptr || log->empty()) start_log("info");
      return run_worker(*flags);
    };
  });
}

}  // namespace pinion::cli
