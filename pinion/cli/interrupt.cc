#include "pinion/cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "pinion/cli/command.h"

namespace pinion::cli {
namespace {

// SIGUSR2 is what the destructor sends to end the waiting thread.
sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR2);
  return signals;
}

}  // namespace

InterruptWatch::InterruptWatch(std::function<void()> stop) : stop_(std::move(stop)) {
  const sigset_t signals = watched_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this, signals] {
    bool asked = false;
    while (true) {
      int signal = 0;
      if (sigwait(&signals, &signal) != 0 || signal == SIGUSR2) return;
      if (asked) _exit(kInterrupted);
      asked = true;
      stop_();
    }
  });
}

InterruptWatch::~InterruptWatch() {
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace pinion::cli
