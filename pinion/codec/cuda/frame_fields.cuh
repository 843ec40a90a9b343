#pragma once
// Fields of a frame written by one thread, and bytes moved by a warp.

#include <cstddef>
#include <cstdint>

namespace pinion::codec::cuda {

__device__ inline std::uint32_t varint_bytes(std::uint64_t value) {
  std::uint32_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

__device__ inline std::byte* put(std::byte* to, std::uint32_t value) {
  *to = static_cast<std::byte>(value & 255);
  return to + 1;
}

__device__ inline std::byte* put_varint(std::byte* to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to = put(to, 0x80 | static_cast<std::uint32_t>(value & 0x7f));
  return put(to, static_cast<std::uint32_t>(value));
}

// Bytes of a slot, of which whole words may be read beside those that are asked for.
struct SlotBytes {
  const std::byte* from;
  __device__ std::uint32_t byte(std::uint32_t i) const { return static_cast<std::uint32_t>(from[i]); }
  __device__ std::uint32_t word(std::uint32_t i) const {
    const auto address = reinterpret_cast<std::uintptr_t>(from + i);
    const auto* const words = reinterpret_cast<const std::uint32_t*>(address / 4 * 4);
    return __funnelshift_r(__ldg(words), __ldg(words + 1), static_cast<std::uint32_t>(address % 4 * 8));
  }
};

// `count` bytes by one warp, in whole words where the target has them.
template <class Source>
__device__ void move_bytes(std::byte* to, std::uint32_t count, std::uint32_t lane, const Source& source) {
  const auto misaligned = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(to) % 4);
  const std::uint32_t head = min((4 - misaligned) % 4, count), words = (count - head) / 4;
  if (lane < head) to[lane] = static_cast<std::byte>(source.byte(lane));
  auto* const whole = reinterpret_cast<std::uint32_t*>(to + head);
#pragma unroll 8
  for (std::uint32_t i = lane; i < words; i += 32) whole[i] = source.word(head + 4 * i);
  const std::uint32_t done = head + 4 * words;
  if (lane < count - done) to[done + lane] = static_cast<std::byte>(source.byte(done + lane));
}

}  // namespace pinion::codec::cuda
