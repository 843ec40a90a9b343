#pragma once
// The inner loops of chunks of byte symbols over whole groups of 32 lanes, one set for each CPU path. Only
// the coders of this folder include this.

#include <array>
#include <cstddef>
#include <cstdint>

#include "pinion/codec/entropy/rans.h"
#include "pinion/codec/entropy/rans_lanes.h"
#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

using LaneStates = std::array<std::uint32_t, kMaxLanes>;

struct ByteEncodeLoop {
  const std::uint8_t* symbols;
  const std::uint8_t* classes;  // null if there is one class
  const std::uint32_t* reciprocals;
  const std::uint32_t* ranges;
};

// Encodes groups - 1 to 0. Words go to `words` in the order in which they leave the states, which is the
// reverse of a chunk's; up to 16 words behind them are overwritten too. Returns where they end.
using EncodeGroups = std::uint16_t* (*)(const ByteEncodeLoop& loop, std::size_t groups, LaneStates& states,
                                        std::uint16_t* words);

struct ByteDecodeLoop {
  const std::uint32_t* slots;
  const std::uint8_t* classes;  // null if there is one class
  std::uint8_t* out;
};

// Decodes `groups` groups while at least kMaxLanes words are left of those before `end`; returns how many
// groups it did and moves `words` on.
using DecodeGroups = std::size_t (*)(const ByteDecodeLoop& loop, std::size_t groups, LaneStates& states,
                                     const std::byte*& words, const std::byte* end);

std::uint16_t* encode_groups_portable(const ByteEncodeLoop& loop, std::size_t groups, LaneStates& states,
                                      std::uint16_t* words);
std::size_t decode_groups_portable(const ByteDecodeLoop& loop, std::size_t groups, LaneStates& states,
                                   const std::byte*& words, const std::byte* end);
#if defined(__x86_64__)
std::uint16_t* encode_groups_avx2(const ByteEncodeLoop& loop, std::size_t groups, LaneStates& states,
                                  std::uint16_t* words);
std::size_t decode_groups_avx2(const ByteDecodeLoop& loop, std::size_t groups, LaneStates& states,
                               const std::byte*& words, const std::byte* end);
std::uint16_t* encode_groups_avx512(const ByteEncodeLoop& loop, std::size_t groups, LaneStates& states,
                                    std::uint16_t* words);
std::size_t decode_groups_avx512(const ByteDecodeLoop& loop, std::size_t groups, LaneStates& states,
                                 const std::byte*& words, const std::byte* end);
#endif

struct ByteLoops {
  EncodeGroups encode;
  DecodeGroups decode;
};
// Only where the CPU has that path.
ByteLoops byte_loops(CpuPath path);
inline constexpr std::size_t kOverwrittenWords = 16;  // behind the last one, that encode may touch

inline std::uint32_t encode_byte(std::uint32_t x, std::uint32_t reciprocal, std::uint32_t range,
                                 std::uint16_t*& words) {
  if (lane_is_full(x, range)) {
    *words++ = static_cast<std::uint16_t>(x);
    x >>= 16;
  }
  return lane_with_symbol(x, reciprocal, range);
}

}  // namespace pinion::codec
