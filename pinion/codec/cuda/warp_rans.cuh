#pragma once
// Interleaved rANS by one warp: lane n of the warp is lane n of the chunk (docs/format.md §4.2). Every
// function is called by all 32 threads of the warp. What a lane does by itself is in
// pinion/codec/entropy/rans_lanes.h.

#include <cstdint>

#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;
inline constexpr std::uint32_t kStartState = 1u << 16;

__device__ inline std::uint32_t lanes_before(std::uint32_t mask, std::uint32_t lane) {
  return static_cast<std::uint32_t>(__popc(mask & ((1u << lane) - 1)));
}

// Writes a chunk from its end to its begin, the last operations first, into an array of words.
struct WarpRansEncoder {
  std::uint16_t* words;
  std::uint32_t first;  // index of the first of the words so far; all lanes hold the same
  std::uint32_t state = kStartState;

  // One symbol of each active lane.
  __device__ void put(std::uint32_t lane, bool active, std::uint32_t reciprocal, std::uint32_t range) {
    const bool full = active && lane_is_full(state, range);
    make_room(lane, full);
    const std::uint32_t next = lane_with_symbol(full ? state >> 16 : state, reciprocal, range);
    state = active ? next : state;
  }

  // The low `bits` bits of `value` from each active lane: 0 to 16.
  __device__ void put_bits(std::uint32_t lane, bool active, std::uint32_t value, std::uint32_t bits) {
    active = active && bits > 0;
    const bool full = active && state >> (32 - bits) != 0;
    make_room(lane, full);
    const std::uint32_t next = (full ? state >> 16 : state) << bits | value;
    state = active ? next : state;
  }

  // Puts the states of the first `lanes` lanes in front; `first` is where the chunk begins.
  __device__ void finish(std::uint32_t lane, std::uint32_t lanes = 32) {
    first -= 2 * lanes;
    if (lane >= lanes) return;
    words[first + 2 * lane] = static_cast<std::uint16_t>(state);
    words[first + 2 * lane + 1] = static_cast<std::uint16_t>(state >> 16);
  }

 private:
  // Writes the low words of full states. Without a branch: a warp alone waits for each of its instructions.
  __device__ void make_room(std::uint32_t lane, bool full) {
    const std::uint32_t full_lanes = __ballot_sync(kAllLanes, full);
    first -= static_cast<std::uint32_t>(__popc(full_lanes));
    std::uint16_t* const to = words + first + lanes_before(full_lanes, lane);
    asm volatile(
        "{\n"
        ".reg .pred full;\n"
        "setp.ne.u32 full, %2, 0;\n"
        "@full st.global.u16 [%0], %1;\n"
        "}" ::"l"(to),
        "h"(static_cast<std::uint16_t>(state)), "r"(static_cast<std::uint32_t>(full))
        : "memory");
  }
};

// Reads a chunk of bytes at any alignment. Words come into registers 32 at a time, one for each thread and
// two such sets, so that a lane's next word is never far away. Words past the end are 0: that too many were
// taken is found out at the end.
class WarpRansDecoder {
 public:
  // False (in all threads) if the chunk cannot be one.
  __device__ bool open(const std::byte* chunk, std::uint32_t bytes, std::uint32_t lanes, std::uint32_t lane) {
    if (bytes < 4 * lanes || bytes % 2 != 0) return false;
    // A warp alone would wait for device memory every few symbols.
    for (std::uint32_t at = kLineBytes * lane; at < bytes; at += kLineBytes * kWarpWords)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(chunk + at));
    state_ = kStartState;
    if (lane < lanes) {
      state_ = 0;
      for (std::uint32_t i = 0; i < 4; ++i)
        state_ |= static_cast<std::uint32_t>(chunk[4 * lane + i]) << (8 * i);
    }
    words_ = chunk + 4 * lanes;
    count_ = (bytes - 4 * lanes) / 2;
    base_ = used_ = 0;
    near_ = window_ = load(lane).word();
    far_ = load(kWarpWords + lane).word();
    coming_ = load(2 * kWarpWords + lane);
    return __all_sync(kAllLanes, state_ >= kStartState);
  }

  __device__ std::uint32_t state() const { return state_; }

  // Takes so many plain bits, 0 to 16, from each active lane; `value` becomes them there.
  __device__ void take_bits(std::uint32_t lane, bool active, std::uint32_t bits, std::uint32_t& value) {
    if (active) value = state_ & ((1u << bits) - 1);
    go_on(lane, active, state_ >> bits);
  }

  // Active lanes go on to the state `next`, and to the next word where that is too low.
  __device__ void go_on(std::uint32_t lane, bool active, std::uint32_t next) {
    if (active) state_ = next;
    const bool low = active && state_ < kStartState;
    const std::uint32_t low_lanes = __ballot_sync(kAllLanes, low);
    const std::uint32_t at = used_ + lanes_before(low_lanes, lane);
    const std::uint32_t word = __shfl_sync(kAllLanes, window_, static_cast<int>(at % kWarpWords));
    if (low) state_ = state_ << 16 | word;
    used_ += static_cast<std::uint32_t>(__popc(low_lanes));
    if (used_ >= kWarpWords) {
      used_ -= kWarpWords;
      base_ += kWarpWords;
      near_ = far_;
      far_ = coming_.word();
      coming_ = load(base_ + 2 * kWarpWords + lane);
    }
    window_ = lane >= used_ ? near_ : far_;
  }

  // Whether the chunk was used up exactly, in all threads.
  __device__ bool ends_cleanly() const {
    return base_ + used_ == count_ && __all_sync(kAllLanes, state_ == kStartState);
  }

 private:
  static constexpr std::uint32_t kWarpWords = 32, kLineBytes = 128;

  // A word as it is loaded: putting it together would wait for it.
  struct Loaded {
    std::uint8_t low = 0, high = 0;
    __device__ std::uint32_t word() const { return low | std::uint32_t{high} << 8; }
  };

  __device__ Loaded load(std::uint32_t index) const {
    if (index >= count_) return {};
    const auto* const at =
        reinterpret_cast<const std::uint8_t*>(words_) + 2 * static_cast<std::size_t>(index);
    return {__ldg(at), __ldg(at + 1)};
  }

  const std::byte* words_ = nullptr;
  std::uint32_t count_ = 0;  // of words
  std::uint32_t base_ = 0;   // index of the word that thread 0 holds in near_
  std::uint32_t used_ = 0;   // of those from base_ on
  std::uint32_t near_ = 0, far_ = 0, state_ = 0;
  std::uint32_t window_ = 0;  // what this thread has of the next kWarpWords words
  Loaded coming_;
};

}  // namespace pinion::codec::cuda
