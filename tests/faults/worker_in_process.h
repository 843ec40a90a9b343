#pragma once
// A worker with toy models on a thread of this process, and a client's configuration folder for the test.

#include <future>
#include <thread>

#include "pinion/worker/worker.h"

namespace pinion::test {

// A fresh folder under the test's temporary folder.
std::filesystem::path fresh_folder(const std::string& name);

class WorkerInProcess {
 public:
  // Serves the toy models in `models`; its own identity lies in `config`.
  WorkerInProcess(const std::filesystem::path& models, const std::filesystem::path& config,
                  const std::function<void(worker::WorkerOptions&)>& adjust = {});
  ~WorkerInProcess();  // stops it

  std::string address() const { return to_string(worker_->address()); }
  std::string pairing_line() const { return line_; }
  worker::Worker& worker() { return *worker_; }

 private:
  std::unique_ptr<worker::Worker> worker_;
  std::string line_;
  std::thread thread_;
};

}  // namespace pinion::test
