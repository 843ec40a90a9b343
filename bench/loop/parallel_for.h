#pragma once
// Independent pieces of work on threads of their own.

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "pinion/base/result.h"

namespace pinion::bench {

// Calls work(i) for each i below count, on up to `threads` threads. The first error ends it.
template <class Work>
Result<void> parallel_for(std::size_t count, int threads, const Work& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::optional<Error> failed;
  const auto take = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      Result<void> done = work(i);
      if (done.ok()) continue;
      next = count;
      const std::lock_guard lock(mutex);
      if (!failed) failed = done.error();
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < std::min<std::size_t>(count, static_cast<std::size_t>(threads)); ++t) {
    others.emplace_back(take);
  }
  take();
  others.clear();
  if (failed) return *failed;
  return {};
}

}  // namespace pinion::bench
