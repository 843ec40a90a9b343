#pragma once
// Memory of a CUDA device and page-locked memory of the host, freed with their owner; CUDA's errors as ours.
// Not thread-safe.

#include <cuda_runtime.h>

#include <string>
#include <utility>

#include "pinion/base/bytes.h"

namespace pinion::codec::cuda {

inline Result<void> check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return {};
  const bool no_memory = status == cudaErrorMemoryAllocation;
  return Error{no_memory ? Errc::kOutOfMemory : Errc::kInternal,
               "CUDA: " + std::string(what) + ": " + cudaGetErrorString(status), ""};
}

// The calling thread's device while this lives.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    cudaGetDevice(&before_);
    if (before_ != device) cudaSetDevice(device);
  }
  ~DeviceScope() { cudaSetDevice(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

enum class MemoryKind { kDevice, kPinned };

template <MemoryKind kKind>
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Memory() { release(); }

  // At least that much; what was there is gone if it has to grow. The current device is the one it is for.
  Result<void> reserve(std::size_t bytes) {
    if (bytes <= bytes_) return {};
    release();
    void* data = nullptr;
    const cudaError_t status =
        kKind == MemoryKind::kDevice ? cudaMalloc(&data, bytes) : cudaMallocHost(&data, bytes);
    if (status != cudaSuccess) cudaGetLastError();  // so that nobody else finds it
    PINION_TRY_VOID(check(status, "no memory of " + std::to_string(bytes) + " bytes"));
    data_ = static_cast<std::byte*>(data);
    bytes_ = bytes;
    return {};
  }

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release() {
    if (data_ != nullptr) kKind == MemoryKind::kDevice ? cudaFree(data_) : cudaFreeHost(data_);
    data_ = nullptr;
    bytes_ = 0;
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

using DeviceMemory = Memory<MemoryKind::kDevice>;
using PinnedMemory = Memory<MemoryKind::kPinned>;

// Hands out aligned parts of one block: measured first with `base` null, then again with the memory.
class Parts {
 public:
  explicit Parts(std::byte* base) : base_(base) {}

  template <class T>
  T* take(std::size_t count) {
    constexpr std::size_t kAlignment = 256;
    T* const part = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ = (used_ + count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace pinion::codec::cuda
