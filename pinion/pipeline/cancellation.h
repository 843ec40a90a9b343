#pragma once
// Lets one thread stop the job that another is running. Thread-safe.

#include <functional>
#include <mutex>
#include <utility>

namespace pinion::pipeline {

class Cancellation {
 public:
  // Marks the job as cancelled and wakes what it is waiting for.
  void cancel() {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (wake_) wake_();
  }

  bool cancelled() const {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

  // While a Scope lives, cancel() also runs `wake`, such as the cancel() of a pending call. `wake` must
  // neither block nor come back here.
  class Scope {
   public:
    Scope(Cancellation& owner, std::function<void()> wake) : owner_(owner) { set(std::move(wake)); }
    ~Scope() { set({}); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    void set(std::function<void()> wake) {
      const std::lock_guard lock(owner_.mutex_);
      owner_.wake_ = std::move(wake);
    }
    Cancellation& owner_;
  };

 private:
  mutable std::mutex mutex_;
  bool cancelled_ = false;
  std::function<void()> wake_;
};

}  // namespace pinion::pipeline
