#include "pinion/codec/groups/group_loops.h"

#include <bit>

#include "pinion/base/assert.h"
#include "pinion/codec/groups/group_arithmetic.h"
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
PINION_INLINE std::uint32_t largest_size(const float* values, std::size_t count) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t size = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffff;
    largest = size > largest ? size : largest;
  }
  return largest;
}

PINION_INLINE void round_group(const float* values, std::size_t count, float inverse_scale, float most,
                               std::int8_t* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = group_integer(values[i], inverse_scale, most);
}

PINION_INLINE void scale_group(const std::int8_t* integers, std::size_t count, float scale, float limit,
                               float* to) {
  for (std::size_t i = 0; i < count; ++i) to[i] = group_value(integers[i], scale, limit);
}

PINION_INLINE float encode_body(const float* values, std::size_t count, float most, std::uint16_t* scales,
                                std::int8_t* integers) {
  std::uint32_t largest = 0;
  const auto one = [&](std::size_t at, std::size_t n) {
    const std::uint32_t size = largest_size(values + at, n);
    largest = size > largest ? size : largest;
    const std::uint16_t scale = group_scale(std::bit_cast<float>(size), most);
    scales[at / kGroupElements] = scale;
    round_group(values + at, n, inverse_of_scale(scale), most, integers + at);
  };
  in_groups<kGroupElements>(
      count, [&](std::size_t i) { one(i, kGroupElements); }, one);
  return std::bit_cast<float>(largest);
}

PINION_INLINE void decode_body(const std::int8_t* integers, const std::uint16_t* scales, std::size_t count,
                               float limit, float* values) {
  const auto one = [&](std::size_t at, std::size_t n) {
    scale_group(integers + at, n, scale_value(scales[at / kGroupElements]), limit, values + at);
  };
  in_groups<kGroupElements>(
      count, [&](std::size_t i) { one(i, kGroupElements); }, one);
}

PINION_INLINE void pack_body(const std::int8_t* integers, std::size_t count, std::uint8_t* to) {
  for (std::size_t i = 0; i < count / 2; ++i)
    to[i] = static_cast<std::uint8_t>((integers[2 * i] & 0xf) | integers[2 * i + 1] << 4);
}

PINION_INLINE void unpack_body(const std::uint8_t* from, std::size_t count, std::int8_t* integers) {
  for (std::size_t i = 0; i < count / 2; ++i) {
    integers[2 * i] = static_cast<std::int8_t>(static_cast<std::int8_t>(from[i] << 4) >> 4);
    integers[2 * i + 1] = static_cast<std::int8_t>(static_cast<std::int8_t>(from[i]) >> 4);
  }
}

// One set of functions: the bodies, built for a CPU path.
#define PINION_GROUP_SET(set, attributes)                                                               \
  struct set {                                                                                          \
    attributes static void widen(const std::uint16_t* from, std::size_t count, float* to) {             \
      widen_body(from, count, to);                                                                      \
    }                                                                                                   \
    attributes static void narrow(const float* from, std::size_t count, std::uint16_t* to) {            \
      narrow_body(from, count, to);                                                                     \
    }                                                                                                   \
    attributes static float encode(const float* values, std::size_t count, float most,                  \
                                   std::uint16_t* scales, std::int8_t* integers) {                      \
      return encode_body(values, count, most, scales, integers);                                        \
    }                                                                                                   \
    attributes static void decode(const std::int8_t* integers, const std::uint16_t* scales,             \
                                  std::size_t count, float limit, float* values) {                      \
      decode_body(integers, scales, count, limit, values);                                              \
    }                                                                                                   \
    attributes static void pack(const std::int8_t* integers, std::size_t count, std::uint8_t* to) {     \
      pack_body(integers, count, to);                                                                   \
    }                                                                                                   \
    attributes static void unpack(const std::uint8_t* from, std::size_t count, std::int8_t* integers) { \
      unpack_body(from, count, integers);                                                               \
    }                                                                                                   \
    static constexpr GroupLoops kLoops = {widen, narrow, encode, decode, pack, unpack};                 \
  }

PINION_GROUP_SET(Portable, );
PINION_BUILD_FOR_AVX2(PINION_GROUP_SET, Avx2, Portable);

}  // namespace

const GroupLoops& group_loops(CpuPath path) { return built_for(path, Portable::kLoops, Avx2::kLoops); }

const GroupLoops& group_loops() { return group_loops(best_cpu_path()); }

}  // namespace pinion::codec
