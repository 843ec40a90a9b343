#pragma once
// Threads that share the chunks of one tensor. Owned by an encoder or decoder, which uses it from one thread
// at a time; the calling thread works too. With one thread there is no other and nothing is locked.

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pinion::codec {

class ChunkPool {
 public:
  // `threads` ≥ 1 counts the caller. The others start with the first work that there is for them.
  explicit ChunkPool(int threads = 1) : threads_(threads < 1 ? 1 : static_cast<std::size_t>(threads)) {}
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  std::size_t threads() const { return threads_; }

  // Calls work(i, worker) once for each i below `count`, in any order, with worker below threads() and never
  // the same for two calls at once. Returns when all are done. `work` does not throw.
  using Work = std::function<void(std::size_t i, std::size_t worker)>;
  void run(std::size_t count, const Work& work);

  // The same for items so small that `group` of them at a time are one piece of work.
  template <class Item>
  void run_in_groups(std::size_t count, std::size_t group, const Item& item) {
    run((count + group - 1) / group, [&](std::size_t i, std::size_t worker) {
      const std::size_t end = i * group + group < count ? i * group + group : count;
      for (std::size_t j = i * group; j < end; ++j) item(j, worker);
    });
  }

 private:
  void help(std::size_t worker);
  void take(std::unique_lock<std::mutex>& lock, std::size_t worker);

  const std::size_t threads_;
  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const Work* work_ = nullptr;  // guarded by mutex_, as all below
  std::size_t next_ = 0, count_ = 0, busy_ = 0;
  bool stopped_ = false;
};

}  // namespace pinion::codec
