#pragma once
// What the last kernel of a frame writes into page-locked memory, and waiting for it. Looking there is
// quicker than to wait for the stream, which also tells what went wrong. Used by one thread at a time.

#include <atomic>
#include <chrono>
#include <cstring>

#include "pinion/codec/cuda/cuda_memory.h"

namespace pinion::codec::cuda {

// Of plain data with a `serial` that the device counts up behind all the rest.
template <class Outcome>
class OutcomeOnHost {
 public:
  Result<void> make() {
    PINION_TRY_VOID(memory_.reserve(sizeof(Outcome)));
    std::memset(memory_.data(), 0, sizeof(Outcome));
    return {};
  }

  Outcome* place() const { return reinterpret_cast<Outcome*>(memory_.data()); }
  const Outcome& operator*() const { return *place(); }
  const Outcome* operator->() const { return place(); }

  // Returns when there is another one than before, or the stream has nothing more to do.
  Result<void> wait(cudaStream_t stream, std::string_view what) {
    const std::atomic_ref<std::uint32_t> serial(place()->serial);
    cudaError_t failed = cudaGetLastError();
    const auto last = std::chrono::steady_clock::now() + kPatience;
    while (failed == cudaSuccess && serial.load(std::memory_order_acquire) == serial_) {
      if (std::chrono::steady_clock::now() < last) continue;
      failed = cudaStreamSynchronize(stream);
      break;
    }
    if (failed != cudaSuccess) cudaStreamSynchronize(stream);
    serial_ = serial.load(std::memory_order_acquire);
    return check(failed, what);
  }

 private:
  static constexpr std::chrono::milliseconds kPatience{5};

  PinnedMemory memory_;
  std::uint32_t serial_ = 0;  // of the last one
};

}  // namespace pinion::codec::cuda
