#include "pinion/codec/groups/group_loops.h"

#include <bit>

#include "pinion/base/assert.h"
#include "pinion/codec/math/vector_ops.h"

namespace pinion::codec {
namespace {

PINION_INLINE void widen_body(const std::uint16_t* from, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = std::bit_cast<float>(std::uint32_t{from[i]} << 16);
}

PINION_INLINE void narrow_body(const float* from, std::size_t count, std::uint16_t* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    to[i] = static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

// Sizes of floats are in the order of their bits.
PINION_INLINE float largest_body(const float* values, std::size_t count) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t size = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  return std::bit_cast<float>(largest);
}

PINION_INLINE void quantise_body(const float* values, std::size_t count, float inverse_scale, float most,
                                 std::int8_t* to) {
  constexpr float kBig = 12582912.0f;  // 1.5 · 2^23: sums with it have no fraction
  for (std::size_t i = 0; i < count; ++i) {
    float value = values[i] * inverse_scale;
    value = value > most ? most : value;
    value = value < -most ? -most : value;
    to[i] = static_cast<std::int8_t>(std::bit_cast<std::int32_t>(value + kBig) -
                                     std::bit_cast<std::int32_t>(kBig));
  }
}

PINION_INLINE void scale_body(const std::int8_t* indices, std::size_t count, float scale, float* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(indices[i]) * scale;
}

PINION_INLINE void pack_body(const std::int8_t* indices, std::size_t count, std::uint8_t* to) {
  for (std::size_t i = 0; i < count / 2; ++i)
    to[i] = static_cast<std::uint8_t>((indices[2 * i] & 0xf) | indices[2 * i + 1] << 4);
}

PINION_INLINE void unpack_body(const std::uint8_t* from, std::size_t count, std::int8_t* indices) {
  for (std::size_t i = 0; i < count / 2; ++i) {
    indices[2 * i] = static_cast<std::int8_t>(static_cast<std::int8_t>(from[i] << 4) >> 4);
    indices[2 * i + 1] = static_cast<std::int8_t>(static_cast<std::int8_t>(from[i]) >> 4);
  }
}

// One set of functions: the bodies, built for a CPU path.
#define PINION_GROUP_SET(set, attributes)                                                                    \
  struct set {                                                                                               \
    attributes static void widen(const std::uint16_t* from, std::size_t count, float* to) {                  \
      widen_body(from, count, to);                                                                           \
    }                                                                                                        \
    attributes static void narrow(const float* from, std::size_t count, std::uint16_t* to) {                 \
      narrow_body(from, count, to);                                                                          \
    }                                                                                                        \
    attributes static float largest(const float* values, std::size_t count) {                                \
      return largest_body(values, count);                                                                    \
    }                                                                                                        \
    attributes static void quantise(const float* values, std::size_t count, float inverse_scale, float most, \
                                    std::int8_t* to) {                                                       \
      quantise_body(values, count, inverse_scale, most, to);                                                 \
    }                                                                                                        \
    attributes static void scale(const std::int8_t* indices, std::size_t count, float by, float* to) {       \
      scale_body(indices, count, by, to);                                                                    \
    }                                                                                                        \
    attributes static void pack(const std::int8_t* indices, std::size_t count, std::uint8_t* to) {           \
      pack_body(indices, count, to);                                                                         \
    }                                                                                                        \
    attributes static void unpack(const std::uint8_t* from, std::size_t count, std::int8_t* indices) {       \
      unpack_body(from, count, indices);                                                                     \
    }                                                                                                        \
    static constexpr GroupLoops kLoops = {widen, narrow, largest, quantise, scale, pack, unpack};            \
  }

PINION_GROUP_SET(Portable, );
#if defined(__x86_64__)
PINION_GROUP_SET(Avx2, __attribute__((target("avx2"))));
#else
using Avx2 = Portable;
#endif

}  // namespace

const GroupLoops& group_loops(CpuPath path) {
  PINION_ASSERT(has_cpu_path(path));
  return path == CpuPath::kPortable ? Portable::kLoops : Avx2::kLoops;
}

const GroupLoops& group_loops() { return group_loops(best_cpu_path()); }

}  // namespace pinion::codec
