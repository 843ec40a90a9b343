#include "pinion/worker/compute_queue.h"

#include <utility>

namespace pinion::worker {

ComputeQueue::ComputeQueue() : thread_([this] { run(); }) {}

ComputeQueue::~ComputeQueue() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
  // What is dropped may own things that hand in more work as they end.
  while (!lines_.empty()) {
    const auto dropped = std::exchange(lines_, {});
  }
}

void ComputeQueue::submit(const std::string& job, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    lines_[job].push_back(std::move(work));
  }
  changed_.notify_one();
}

bool ComputeQueue::is_idle() const {
  const std::lock_guard lock(mutex_);
  return !is_running_ && lines_.empty();
}

void ComputeQueue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return is_stopping_ || !lines_.empty(); });
    if (is_stopping_) return;
    auto line = lines_.upper_bound(last_job_);
    if (line == lines_.end()) line = lines_.begin();
    last_job_ = line->first;
    std::function<void()> work = std::move(line->second.front());
    line->second.pop_front();
    if (line->second.empty()) lines_.erase(line);
    is_running_ = true;
    lock.unlock();
    work();
    work = nullptr;  // what it holds is freed on this thread, and not under the lock
    lock.lock();
    is_running_ = false;
  }
}

}  // namespace pinion::worker
