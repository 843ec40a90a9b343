#pragma once
// A thread that runs the network, and calls from other threads that wait for a coroutine there.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "pinion/base/result.h"

namespace pinion::client {

namespace asio = boost::asio;

class IoThread {
 public:
  IoThread()
      : thread_([this] {
          io_.run();
          is_idle_.set_value();
        }) {}

  ~IoThread() { stop(); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  // Lets what is under way end, for a second at most. Nothing runs there any more when this returns. Objects
  // that use the context must be let go of on its thread before: Beast's streams must not outlive the
  // context, and a coroutine that is left in it keeps them until then.
  void stop() {
    guard_.reset();
    if (!thread_.joinable()) return;
    is_idle_.get_future().wait_for(std::chrono::seconds(1));
    io_.stop();
    thread_.join();
  }

  asio::io_context& context() { return io_; }

  // Runs the coroutine on the network thread and waits for its result. What it throws becomes kInternal.
  template <class T>
  Result<T> wait_for(asio::awaitable<Result<T>> work) {
    std::optional<Result<T>> result;
    try {
      asio::co_spawn(io_, keep(std::move(work), result), asio::use_future).get();
    } catch (const std::bad_alloc&) {
      return Error{Errc::kOutOfMemory, "out of memory", ""};
    } catch (const std::exception& e) {
      return Error{Errc::kInternal, std::string("network: ") + e.what(), ""};
    }
    return std::move(*result);
  }

 private:
  template <class T>
  static asio::awaitable<void> keep(asio::awaitable<Result<T>> work, std::optional<Result<T>>& result) {
    result = co_await std::move(work);
  }

  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_ = asio::make_work_guard(io_);
  std::promise<void> is_idle_;
  std::thread thread_;  // last: it uses what stands above
};

}  // namespace pinion::client
