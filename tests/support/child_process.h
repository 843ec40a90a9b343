#pragma once
// Real processes for tests: started with arguments and environment, read line by line, killed at the end.
//
// A ChildProcess is used by one thread. Its destructor kills (SIGKILL) and reaps what is still running, so
// a failing test leaves nothing behind.

#include <chrono>
#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pinion::test {

struct ProcessResult {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string out;     // standard output
  std::string err;     // standard error
};

class ChildProcess {
 public:
  // `environment` is added to this process's own. Standard input is empty.
  ChildProcess(const std::vector<std::string>& arguments,
               const std::map<std::string, std::string>& environment);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Waits until standard output holds a whole line that contains `text` and returns that line; nothing when
  // the time is up or the output ends.
  std::optional<std::string> wait_for_line(const std::string& text, std::chrono::milliseconds limit);

  // Waits for the end; nothing when the time is up.
  std::optional<ProcessResult> wait(std::chrono::milliseconds limit);

  void signal(int number);
  bool running();
  int pid() const { return pid_; }

  // What has been printed so far.
  const std::string& out() const { return out_; }
  const std::string& err() const { return err_; }

 private:
  void read_for(std::chrono::milliseconds limit);
  bool reap();

  int pid_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  std::string out_, err_;
  std::optional<int> exit_code_;
};

// Runs to the end; exit code -1 and what was printed so far if it is not done in time (it is killed then).
ProcessResult run_process(const std::vector<std::string>& arguments,
                          const std::map<std::string, std::string>& environment,
                          std::chrono::milliseconds limit);

// A folder below the test's temporary folder, made empty.
std::string scratch_folder(const std::string& name);

// The `pinion` program of this build: $PINION_PROGRAM, which tests/CMakeLists.txt sets.
std::string pinion_program();

}  // namespace pinion::test
