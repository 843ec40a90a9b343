#include "pinion/codec/entropy/byte_loops.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <bit>

namespace pinion::codec {
namespace {

#define PINION_AVX512 __attribute__((target("avx512f,popcnt"), always_inline)) inline

// 16 bytes as 32-bit lanes, the last byte first.
PINION_AVX512 __m512i load_reversed(const std::uint8_t* from) {
  const __m128i order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm512_cvtepu8_epi32(_mm_shuffle_epi8(bytes, order));
}

// 16 lanes, the highest first: words then leave in the order in which the encoder writes them.
PINION_AVX512 void encode_half(const ByteEncodeLoop& loop, std::size_t first, __m512i& x,
                               std::uint16_t*& words) {
  __m512i entry = load_reversed(loop.symbols + first);
  if (loop.classes != nullptr)
    entry = _mm512_add_epi32(entry, _mm512_slli_epi32(load_reversed(loop.classes + first), 8));
  const __m512i range = _mm512_i32gather_epi32(entry, loop.ranges, 4);
  const __m512i reciprocal = _mm512_i32gather_epi32(entry, loop.reciprocals, 4);
  const __m512i f = _mm512_and_si512(range, _mm512_set1_epi32(0xffff));

  const __mmask16 full = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(x, 32 - kProbabilityBits), f);
  const __m512i out = _mm512_maskz_compress_epi32(full, x);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm512_cvtepi32_epi16(out));
  words += std::popcount(static_cast<unsigned>(full));
  x = _mm512_mask_srli_epi32(x, full, x, 16);

  const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, reciprocal), 32);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(reciprocal, 32));
  const __m512i low = _mm512_mask_mov_epi32(even, 0xaaaa, odd);
  const __m512i rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(low, f));
  const __mmask16 more = _mm512_cmpge_epu32_mask(rest, f);
  const __m512i quotient = _mm512_mask_add_epi32(low, more, low, _mm512_set1_epi32(1));
  x = _mm512_add_epi32(_mm512_slli_epi32(quotient, kProbabilityBits), _mm512_srli_epi32(range, 16));
  x = _mm512_add_epi32(x, _mm512_mask_sub_epi32(rest, more, rest, f));
}

PINION_AVX512 void decode_half(const ByteDecodeLoop& loop, std::size_t first, __m512i& x,
                               const std::byte*& words) {
  __m512i at = _mm512_and_si512(x, _mm512_set1_epi32(kProbabilityScale - 1));
  if (loop.classes != nullptr) {
    const __m128i classes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(loop.classes + first));
    at = _mm512_or_si512(at, _mm512_slli_epi32(_mm512_cvtepu8_epi32(classes), kProbabilityBits));
  }
  const __m512i entry = _mm512_i32gather_epi32(at, loop.slots, 4);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(loop.out + first), _mm512_cvtepi32_epi8(entry));
  __m512i f = _mm512_and_si512(_mm512_srli_epi32(entry, 8), _mm512_set1_epi32(0xfff));
  f = _mm512_add_epi32(f, _mm512_set1_epi32(1));
  x = _mm512_add_epi32(_mm512_mullo_epi32(f, _mm512_srli_epi32(x, kProbabilityBits)),
                       _mm512_srli_epi32(entry, 20));
  const __mmask16 empty = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(kRansLow));
  const __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
  x = _mm512_mask_slli_epi32(x, empty, x, 16);
  x = _mm512_or_si512(x, _mm512_maskz_expand_epi32(empty, next));
  words += 2 * std::popcount(static_cast<unsigned>(empty));
}

}  // namespace

__attribute__((target("avx512f,popcnt"))) std::uint16_t* encode_groups_avx512(const ByteEncodeLoop& loop,
                                                                              std::size_t groups,
                                                                              LaneStates& states,
                                                                              std::uint16_t* words) {
  const __m512i order = _mm512_set_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i low = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(states.data()));
  __m512i high = _mm512_permutexvar_epi32(order, _mm512_loadu_si512(states.data() + 16));
  for (std::size_t group = groups; group-- > 0;) {
    encode_half(loop, group * 32 + 16, high, words);
    encode_half(loop, group * 32, low, words);
  }
  _mm512_storeu_si512(states.data(), _mm512_permutexvar_epi32(order, low));
  _mm512_storeu_si512(states.data() + 16, _mm512_permutexvar_epi32(order, high));
  return words;
}

__attribute__((target("avx512f,popcnt"))) std::size_t decode_groups_avx512(const ByteDecodeLoop& loop,
                                                                           std::size_t groups,
                                                                           LaneStates& states,
                                                                           const std::byte*& words,
                                                                           const std::byte* end) {
  __m512i low = _mm512_loadu_si512(states.data()), high = _mm512_loadu_si512(states.data() + 16);
  const std::byte* from = words;
  std::size_t group = 0;
  // Both halves read 16 words from where they stand: all within the 32 that are left.
  for (; group < groups && end - from >= 2 * kMaxLanes; ++group) {
    decode_half(loop, group * 32, low, from);
    decode_half(loop, group * 32 + 16, high, from);
  }
  words = from;
  _mm512_storeu_si512(states.data(), low);
  _mm512_storeu_si512(states.data() + 16, high);
  return group;
}

}  // namespace pinion::codec

#endif
