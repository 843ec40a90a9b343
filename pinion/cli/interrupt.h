#pragma once
// Ctrl-C as a polite request: while an InterruptWatch lives, the first SIGINT or SIGTERM runs `stop` on a
// thread of its own, a second one ends the process at once.

#include <functional>
#include <thread>

namespace pinion::cli {

class InterruptWatch {
 public:
  // Make it before any other thread is started: threads inherit the blocked signals.
  explicit InterruptWatch(std::function<void()> stop);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

 private:
  std::function<void()> stop_;
  std::thread thread_;
};

}  // namespace pinion::cli
