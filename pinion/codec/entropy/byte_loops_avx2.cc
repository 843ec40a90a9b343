#include "pinion/codec/entropy/byte_loops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>

namespace pinion::codec {
namespace {

#define PINION_AVX2 __attribute__((target("avx2,popcnt"), always_inline)) inline

using LaneOrders = std::array<std::array<std::uint8_t, 8>, 256>;

// For each mask of eight lanes: the lanes that are set, in order, to the front.
constexpr LaneOrders make_gathered() {
  LaneOrders orders{};
  for (std::size_t mask = 0; mask < orders.size(); ++mask) {
    std::size_t next = 0;
    for (std::uint8_t lane = 0; lane < 8; ++lane) {
      if (mask >> lane & 1) orders[mask][next++] = lane;
    }
  }
  return orders;
}

// The reverse: what comes one after the other, to the lanes that are set.
constexpr LaneOrders make_spread() {
  LaneOrders orders{};
  for (std::size_t mask = 0; mask < orders.size(); ++mask) {
    std::uint8_t next = 0;
    for (std::size_t lane = 0; lane < 8; ++lane) {
      if (mask >> lane & 1) orders[mask][lane] = next++;
    }
  }
  return orders;
}

constexpr LaneOrders kGathered = make_gathered();
constexpr LaneOrders kSpread = make_spread();

PINION_AVX2 __m256i lanes_of(const std::uint8_t* eight) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(eight)));
}

PINION_AVX2 __m256i reversed(__m256i lanes) {
  return _mm256_permutevar8x32_epi32(lanes, _mm256_set_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

PINION_AVX2 unsigned mask_of(__m256i lanes) {
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(lanes)));
}

// Eight lanes, the highest first: words then leave in the order in which the encoder writes them.
PINION_AVX2 void encode_quarter(const ByteEncodeLoop& loop, std::size_t first, __m256i& x,
                                std::uint16_t*& words) {
  __m256i entry = lanes_of(loop.symbols + first);
  if (loop.classes != nullptr)
    entry = _mm256_add_epi32(entry, _mm256_slli_epi32(lanes_of(loop.classes + first), 8));
  entry = reversed(entry);
  const __m256i range = _mm256_i32gather_epi32(reinterpret_cast<const int*>(loop.ranges), entry, 4);
  const __m256i reciprocal = _mm256_i32gather_epi32(reinterpret_cast<const int*>(loop.reciprocals), entry, 4);
  const __m256i f = _mm256_and_si256(range, _mm256_set1_epi32(0xffff));

  // Both sides are small, so signed comparisons do.
  const __m256i holds = _mm256_cmpgt_epi32(f, _mm256_srli_epi32(x, 32 - kProbabilityBits));
  const unsigned full = mask_of(holds) ^ 0xff;
  const __m256i out = _mm256_and_si256(_mm256_permutevar8x32_epi32(x, lanes_of(kGathered[full].data())),
                                       _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(out, out), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm256_castsi256_si128(packed));
  words += std::popcount(full);
  x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, holds);

  const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, reciprocal), 32);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(reciprocal, 32));
  const __m256i low = _mm256_blend_epi32(even, odd, 0xaa);
  const __m256i rest = _mm256_sub_epi32(x, _mm256_mullo_epi32(low, f));
  const __m256i fits = _mm256_cmpgt_epi32(f, rest);  // all ones if the quotient is right
  const __m256i quotient = _mm256_add_epi32(_mm256_add_epi32(low, _mm256_set1_epi32(1)), fits);
  x = _mm256_add_epi32(_mm256_slli_epi32(quotient, kProbabilityBits), _mm256_srli_epi32(range, 16));
  x = _mm256_add_epi32(x, _mm256_sub_epi32(rest, _mm256_andnot_si256(fits, f)));
}

// Returns the slots' words, whose low bytes are the symbols.
PINION_AVX2 __m256i decode_quarter(const ByteDecodeLoop& loop, std::size_t first, __m256i& x,
                                   const std::byte*& words) {
  __m256i at = _mm256_and_si256(x, _mm256_set1_epi32(kProbabilityScale - 1));
  if (loop.classes != nullptr)
    at = _mm256_or_si256(at, _mm256_slli_epi32(lanes_of(loop.classes + first), kProbabilityBits));
  const __m256i entry = _mm256_i32gather_epi32(reinterpret_cast<const int*>(loop.slots), at, 4);
  __m256i f = _mm256_and_si256(_mm256_srli_epi32(entry, 8), _mm256_set1_epi32(0xfff));
  f = _mm256_add_epi32(f, _mm256_set1_epi32(1));
  x = _mm256_add_epi32(_mm256_mullo_epi32(f, _mm256_srli_epi32(x, kProbabilityBits)),
                       _mm256_srli_epi32(entry, 20));
  const __m256i empty = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
  const unsigned mask = mask_of(empty);
  const __m256i next = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
  const __m256i spread = _mm256_permutevar8x32_epi32(next, lanes_of(kSpread[mask].data()));
  x = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), spread), empty);
  words += 2 * std::popcount(mask);
  return entry;
}

PINION_AVX2 void store_symbols(std::uint8_t* out, const __m256i (&entries)[4]) {
  const __m256i low = _mm256_set1_epi32(0xff);
  const __m256i ab =
      _mm256_packus_epi32(_mm256_and_si256(entries[0], low), _mm256_and_si256(entries[1], low));
  const __m256i cd =
      _mm256_packus_epi32(_mm256_and_si256(entries[2], low), _mm256_and_si256(entries[3], low));
  const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order));
}

PINION_AVX2 __m256i load_lanes(const std::uint32_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

PINION_AVX2 void store_lanes(std::uint32_t* to, __m256i lanes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), lanes);
}

}  // namespace

__attribute__((target("avx2,popcnt"))) std::uint16_t* encode_groups_avx2(const ByteEncodeLoop& loop,
                                                                         std::size_t groups,
                                                                         LaneStates& states,
                                                                         std::uint16_t* words) {
  __m256i x[4];
  for (std::size_t i = 0; i < 4; ++i) x[i] = reversed(load_lanes(states.data() + 8 * i));
  for (std::size_t group = groups; group-- > 0;) {
    for (std::size_t i = 4; i-- > 0;) encode_quarter(loop, group * 32 + 8 * i, x[i], words);
  }
  for (std::size_t i = 0; i < 4; ++i) store_lanes(states.data() + 8 * i, reversed(x[i]));
  return words;
}

__attribute__((target("avx2,popcnt"))) std::size_t decode_groups_avx2(const ByteDecodeLoop& loop,
                                                                      std::size_t groups, LaneStates& states,
                                                                      const std::byte*& words,
                                                                      const std::byte* end) {
  __m256i x[4], entries[4];
  for (std::size_t i = 0; i < 4; ++i) x[i] = load_lanes(states.data() + 8 * i);
  const std::byte* from = words;
  std::size_t group = 0;
  // Each quarter reads 8 words from where it stands: all within the 32 that are left.
  for (; group < groups && end - from >= 2 * kMaxLanes; ++group) {
    for (std::size_t i = 0; i < 4; ++i) entries[i] = decode_quarter(loop, group * 32 + 8 * i, x[i], from);
    store_symbols(loop.out + group * 32, entries);
  }
  words = from;
  for (std::size_t i = 0; i < 4; ++i) store_lanes(states.data() + 8 * i, x[i]);
  return group;
}

}  // namespace pinion::codec

#endif
