#pragma once
// The daemon that hosts stages: one port, one I/O thread, one thread for its device, and a few for coding,
// loading and hashing. `pinion worker` runs one.

#include <functional>
#include <memory>
#include <string>

#include "pinion/transport/listener.h"
#include "pinion/worker/hub.h"

namespace pinion::worker {

struct WorkerOptions {
  transport::ListenOptions listen;
  std::string public_host;              // in the pairing line; empty: the bind address, or this machine's
  std::filesystem::path config_folder;  // identity and peers
  std::filesystem::path bases_folder;   // codec bases of earlier jobs; empty: none are kept
  std::vector<std::filesystem::path> models;
  StageCacheOptions stages;
  Limits limits;
  std::chrono::milliseconds idle_job_limit{600'000};

  // Called on the I/O thread with each new pairing line; the first call is from run().
  std::function<void(const std::string& line)> on_pairing_line;
};

class Worker {
 public:
  // Binds the port; run() serves it.
  static Result<std::unique_ptr<Worker>> open(WorkerOptions options, Backend backend);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  transport::Address address() const;  // to be reached at
  const transport::Fingerprint& fingerprint() const;

  // Serves until stop(). Clients are told then; a step that is being computed is not waited for.
  void run();

  // From any thread.
  void stop();

  // Whether the device's thread still computes something, so that the destructor would wait for it.
  bool is_computing() const;

 private:
  class Running;
  explicit Worker(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace pinion::worker
