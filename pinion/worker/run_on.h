#pragma once
// Waiting in a coroutine for work that runs elsewhere, so that no I/O thread ever computes.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <functional>
#include <memory>
#include <new>

#include "pinion/base/result.h"
#include "pinion/transport/as_tuple.h"

namespace pinion::worker {

namespace asio = boost::asio;

// Set once, waited for by any number of coroutines; all on one thread.
class Signal {
 public:
  explicit Signal(asio::any_io_executor executor)
      : timer_(std::move(executor), asio::steady_timer::time_point::max()) {}

  void set() {
    is_set_ = true;
    timer_.cancel();
  }
  asio::awaitable<void> wait() {
    while (!is_set_) co_await timer_.async_wait(transport::kAsTuple);
  }
  asio::any_io_executor executor() { return timer_.get_executor(); }

 private:
  asio::steady_timer timer_;
  bool is_set_ = false;
};

// Hands `work` to `submit` (which calls it once, on another thread) and waits until it has run. `work` may
// refer to the caller's frame.
template <class Submit>
asio::awaitable<void> run_elsewhere(Submit submit, std::function<void()> work) {
  const auto done = std::make_shared<Signal>(co_await asio::this_coro::executor);
  std::function<void()> job = [work = std::move(work), done] {
    work();
    asio::post(done->executor(), [done] { done->set(); });
  };
  submit(std::move(job));
  co_await done->wait();
}

// The result of `work`, with what it throws made an Error: libraries below may throw.
template <class T>
Result<T> guarded(const std::function<Result<T>()>& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{Errc::kOutOfMemory, "out of memory", "use a smaller picture or batch, or fewer blocks here"};
  } catch (const std::exception& e) {
    return Error{Errc::kInternal, e.what(), ""};
  }
}

}  // namespace pinion::worker
