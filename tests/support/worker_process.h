#pragma once
// A real `pinion worker` process with settings of its own, and a client identity that is paired with it.

#include <memory>
#include <string>
#include <vector>

#include "tests/support/child_process.h"

namespace pinion::test {

struct WorkerSettings {
  std::string home;    // folder for its identity, cache and ready file; workers must not share one
  std::string models;  // folder or model that it serves
  std::string device = "cpu";
  std::vector<std::string> more_arguments;
};

class WorkerProcess {
 public:
  // Starts the worker and waits until it listens; throws with its output if it does not.
  explicit WorkerProcess(const WorkerSettings& settings);

  const std::string& address() const { return address_; }            // host:port
  const std::string& pairing_line() const { return pairing_line_; }  // of the start
  ChildProcess& process() { return *process_; }

  // Runs `pinion pair` with the identity that lives in `client_home`; throws if that fails.
  void pair(const std::string& client_home) const;

 private:
  std::unique_ptr<ChildProcess> process_;
  std::string address_;
  std::string pairing_line_;
};

// Environment that keeps a process's identity, peers and cache below `home`.
std::map<std::string, std::string> settings_in(const std::string& home);

// The device that tests run on: $PINION_TEST_DEVICE, else "cpu".
std::string test_device();

}  // namespace pinion::test
