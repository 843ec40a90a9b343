#pragma once
// Arrays that go to a device together. Used by one thread.

#include <algorithm>
#include <functional>
#include <vector>

#include "pinion/codec/cuda/cuda_memory.h"

namespace pinion::codec::cuda {

// Copies arrays one behind the other, aligned.
class Upload {
 public:
  // `place`, which outlives this, becomes where the values are.
  template <class T>
  void add(const T*& place, std::vector<T> values) {
    const std::size_t at = bytes_.size();
    bytes_.resize((at + values.size() * sizeof(T) + kAlignment) / kAlignment * kAlignment);
    std::copy_n(reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T),
                bytes_.data() + at);
    places_.push_back([&place, at](std::byte* base) { place = reinterpret_cast<const T*>(base + at); });
  }

  Result<void> finish(DeviceMemory& memory) {
    PINION_TRY_VOID(memory.reserve(bytes_.size()));
    for (const auto& set : places_) set(memory.data());
    return check(cudaMemcpy(memory.data(), bytes_.data(), bytes_.size(), cudaMemcpyHostToDevice),
                 "cannot copy arrays");
  }

 private:
  static constexpr std::size_t kAlignment = 256;
  std::vector<std::byte> bytes_;
  std::vector<std::function<void(std::byte*)>> places_;
};

}  // namespace pinion::codec::cuda
