#pragma once
// Reads the symbols of a chunk by one warp: lane n of the warp is lane n of the chunk (docs/format.md §4.2).
// Every function is called by all 32 threads of the warp. What a lane does by itself is in
// pinion/codec/entropy/rans_lanes.h.
//
// Two words lie in a register of each thread: a ring of 64, of which one half is refilled while the other is
// read. What refills it is loaded a turn ahead. Words past the end are 0, and that too many were taken is
// found out later: a lane's next symbol is looked up within the tables whatever its state.

#include <cstdint>

#include "pinion/codec/cuda/warp_rans.cuh"

namespace pinion::codec::cuda {

class WarpSymbolDecoder {
 public:
  // False (in all threads) if the chunk cannot be one.
  __device__ bool open(const std::byte* chunk, std::uint32_t bytes, std::uint32_t lanes, std::uint32_t lane) {
    if (bytes < 4 * lanes || bytes % 2 != 0) return false;
    state_ = kStartState;
    if (lane < lanes) {
      state_ = 0;
      for (std::uint32_t i = 0; i < 4; ++i)
        state_ |= static_cast<std::uint32_t>(chunk[4 * lane + i]) << (8 * i);
    }
    before_ = (1u << lane) - 1;
    half_ = lane / 16 * kHalf;
    words_ = reinterpret_cast<const std::uint8_t*>(chunk + 4 * lanes);
    count_ = (bytes - 4 * lanes) / 2;
    used_ = 0;
    next_ = 2 * lane;
    ring_ = load().pair();
    coming_ = load();
    return __all_sync(kAllLanes, state_ >= kStartState);
  }

  __device__ std::uint32_t state() const { return state_; }

  // Takes the symbol of this range from each active lane.
  __device__ void take(bool active, std::uint32_t range) {
    std::uint32_t state = state_;
    if (active) state = lane_without_symbol(state, range);
    const bool low = state < kStartState;
    const std::uint32_t low_lanes = __ballot_sync(kAllLanes, low);
    const std::uint32_t at = used_ + static_cast<std::uint32_t>(__popc(low_lanes & before_));
    const std::uint32_t pair = __shfl_sync(kAllLanes, ring_, static_cast<int>(at / 2));
    // Bytes 0 and 1 of the pair, or 2 and 3, below the state's.
    if (low) state = __byte_perm(pair, state, at % 2 == 0 ? 0x5410 : 0x5432);
    state_ = state;
    const std::uint32_t used = used_ + static_cast<std::uint32_t>(__popc(low_lanes));
    if (((used ^ used_) & kHalf) != 0) {
      if (half_ == (used_ & kHalf)) {
        ring_ = coming_.pair();
        coming_ = load();
      }
    }
    used_ = used;
  }

  // Whether more words were taken than there are.
  __device__ bool ran_out() const { return used_ > count_; }

  // Whether the chunk was used up exactly, in all threads.
  __device__ bool ends_cleanly() const {
    return used_ == count_ && __all_sync(kAllLanes, state_ == kStartState);
  }

 private:
  static constexpr std::uint32_t kHalf = 32;  // words

  // Two words as they are loaded: putting them together would wait for them.
  struct Loaded {
    std::uint8_t bytes[4] = {};
    __device__ std::uint32_t pair() const {
      return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
             std::uint32_t{bytes[3]} << 24;
    }
  };

  // This thread's next two words.
  __device__ Loaded load() {
    Loaded loaded;
    const std::uint8_t* const at = words_ + 2 * static_cast<std::size_t>(next_);
    if (next_ < count_) {
      loaded.bytes[0] = __ldg(at);
      loaded.bytes[1] = __ldg(at + 1);
    }
    if (next_ + 1 < count_) {
      loaded.bytes[2] = __ldg(at + 2);
      loaded.bytes[3] = __ldg(at + 3);
    }
    next_ += 2 * kHalf;
    return loaded;
  }

  const std::uint8_t* words_ = nullptr;
  std::uint32_t count_ = 0;   // of words
  std::uint32_t used_ = 0;    // of these
  std::uint32_t next_ = 0;    // the first word that is not loaded yet, of this thread's
  std::uint32_t before_ = 0;  // a mask of the lanes before
  std::uint32_t half_ = 0;    // where the ring has this thread's words
  std::uint32_t ring_ = 0, state_ = 0;
  Loaded coming_;
};

}  // namespace pinion::codec::cuda
