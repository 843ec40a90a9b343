// A worker process with toy models: toy_worker CONFIG_FOLDER MODELS_FOLDER PORT [max jobs of a client].
// Prints its pairing lines; ends politely at SIGTERM.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "pinion/base/log.h"
#include "pinion/worker/worker.h"
#include "tests/faults/toy_model.h"

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  pinion::start_log("info");

  pinion::worker::WorkerOptions options;
  options.listen.bind = {"127.0.0.1", static_cast<std::uint16_t>(std::atoi(argv[3]))};
  options.config_folder = argv[1];
  options.models = {argv[2]};
  if (argc > 4) options.limits.max_jobs_per_client = std::atoi(argv[4]);
  options.on_pairing_line = [](const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  auto opened = pinion::worker::Worker::open(std::move(options), pinion::test::toy_backend());
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.error().message().c_str());
    return 1;
  }
  pinion::worker::Worker& worker = *opened.value();
  std::thread([&] {
    int signal = 0;
    sigwait(&stop_signals, &signal);
    worker.stop();
  }).detach();
  worker.run();
  return 0;
}
