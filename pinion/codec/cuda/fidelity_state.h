#pragma once
// What a stream of mode 2 keeps on a device from frame to frame (docs/format.md §6.4): the last state, the
// one before, and room for the next, so that a frame that is given up leaves them as they were. Used by one
// thread at a time.

#include "pinion/codec/cuda/cuda_memory.h"

namespace pinion::codec::cuda {

class FidelityStateOnDevice {
 public:
  static constexpr std::size_t kSlots = 3;

  struct Slot {
    std::int32_t* components = nullptr;  // [components, rows]
    std::int32_t* means = nullptr;       // [channels]
    std::uint8_t* scales = nullptr;      // [components]
  };
  // Of a frame, as far as the host knows it.
  struct Outline {
    std::uint32_t checksum = 0;
    double step = 0;
    int mean_shift = 0;
  };

  // What was there is forgotten.
  Result<void> reserve(std::size_t components, std::size_t rows, std::size_t channels) {
    references_ = 0;
    count_ = components * rows;
    const auto place = [&](Parts& parts) {
      for (Slot& slot : slots_)
        slot = {parts.take<std::int32_t>(count_), parts.take<std::int32_t>(channels),
                parts.take<std::uint8_t>(components)};
    };
    Parts measured(nullptr);
    place(measured);
    PINION_TRY_VOID(memory_.reserve(measured.used()));
    Parts parts(memory_.data());
    place(parts);
    return {};
  }

  // How many frames the next one may refer to, newest first.
  std::size_t references() const { return references_; }
  const Slot& reference(std::size_t i) const { return slots_[(current_ + kSlots - i) % kSlots]; }
  const Outline& outline(std::size_t i) const { return outlines_[(current_ + kSlots - i) % kSlots]; }
  const Slot& next() const { return slots_[(current_ + 1) % kSlots]; }
  std::size_t turn() const { return current_; }
  std::size_t count() const { return count_; }

  void forget() { references_ = 0; }
  // What was written to next() is the state of a frame that referred to so many.
  void take_next(const Outline& outline, std::size_t referred_to) {
    current_ = (current_ + 1) % kSlots;
    outlines_[current_] = outline;
    references_ = referred_to == 0 ? 1 : 2;
  }

  std::size_t bytes() const { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
  Slot slots_[kSlots];
  Outline outlines_[kSlots];
  std::size_t current_ = 0, references_ = 0, count_ = 0;
};

}  // namespace pinion::codec::cuda
