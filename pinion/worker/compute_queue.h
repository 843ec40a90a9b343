#pragma once
// The one thread that drives a device. Work waits in a line per job, and the lines take turns, so that a job
// with much work does not starve the others. Thread-safe.

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace pinion::worker {

class ComputeQueue {
 public:
  ComputeQueue();
  ~ComputeQueue();  // finishes what runs, drops what waits
  ComputeQueue(const ComputeQueue&) = delete;
  ComputeQueue& operator=(const ComputeQueue&) = delete;

  // `work` must not throw. `job` names the line.
  void submit(const std::string& job, std::function<void()> work);

  // Whether nothing runs and nothing waits.
  bool is_idle() const;

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::deque<std::function<void()>>> lines_;  // none is empty
  std::string last_job_;                                            // whose turn it was
  bool is_running_ = false;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace pinion::worker
