#include "pinion/codec/chunk_pool.h"

#include <system_error>

namespace pinion::codec {

ChunkPool::~ChunkPool() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void ChunkPool::take(std::unique_lock<std::mutex>& lock, std::size_t worker) {
  ++busy_;
  while (next_ < count_) {
    const std::size_t i = next_++;
    const Work& work = *work_;
    lock.unlock();
    work(i, worker);
    lock.lock();
  }
  --busy_;
}

void ChunkPool::help(std::size_t worker) {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || next_ < count_; });
    if (stopped_) return;
    take(lock, worker);
    if (busy_ == 0) changed_.notify_all();
  }
}

void ChunkPool::run(std::size_t count, const Work& work) {
  if (threads_ == 1 || count < 2) {
    for (std::size_t i = 0; i < count; ++i) work(i, 0);
    return;
  }
  std::unique_lock lock(mutex_);
  work_ = &work;
  next_ = 0;
  count_ = count;
  try {
    while (helpers_.size() + 1 < threads_) {
      helpers_.emplace_back([this, worker = helpers_.size() + 1] { help(worker); });
    }
  } catch (const std::system_error&) {
    // The system has no more threads: those that are here do the work.
  }
  changed_.notify_all();
  take(lock, 0);
  changed_.wait(lock, [this] { return busy_ == 0; });
  count_ = next_ = 0;
}

}  // namespace pinion::codec
