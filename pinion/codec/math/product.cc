#include "pinion/codec/math/product.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pinion/base/assert.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pinion::codec {
namespace {

// Four floats for CPUs of which nothing more is known.
struct Four {
  float lanes[4];
};
inline Four load4(const float* from) { return {{from[0], from[1], from[2], from[3]}}; }
inline Four spread4(float value) { return {{value, value, value, value}}; }
inline Four zero4() { return {}; }
inline Four fma4(const Four& a, const Four& b, const Four& c) {
  Four out;
  for (int i = 0; i < 4; ++i) out.lanes[i] = std::fma(a.lanes[i], b.lanes[i], c.lanes[i]);
  return out;
}
inline Four add4(const Four& a, const Four& b) {
  Four out;
  for (int i = 0; i < 4; ++i) out.lanes[i] = a.lanes[i] + b.lanes[i];
  return out;
}
inline void store4(float* to, const Four& v) { std::copy_n(v.lanes, 4, to); }

// A function of one CPU path: a tile of kLeft rows and two vectors is kept in registers while it runs down
// kProductDepth rows of both operands. The strip of `right` stays in the first-level cache.
#define PINION_PRODUCT(function, attributes, Vector, kLanes, kLeft, zero, load, spread, fma, sum, store) \
  attributes void function(const PackedProduct& product) {                                               \
    constexpr std::size_t kRight = 2 * kLanes;                                                           \
    for (std::size_t k = 0; k < product.depth; k += kProductDepth) {                                     \
      const std::size_t depth = std::min(kProductDepth, product.depth - k);                              \
      for (std::size_t j = 0; j < product.right_strips; ++j) {                                           \
        for (std::size_t i = 0; i < product.left_strips; ++i) {                                          \
          const float* a = product.left + (i * product.depth + k) * kLeft;                               \
          const float* b = product.right + (j * product.depth + k) * kRight;                             \
          Vector low[kLeft], high[kLeft];                                                                \
          for (std::size_t r = 0; r < kLeft; ++r) low[r] = high[r] = zero();                             \
          for (std::size_t d = 0; d < depth; ++d, a += kLeft, b += kRight) {                             \
            const Vector first = load(b), second = load(b + kLanes);                                     \
            for (std::size_t r = 0; r < kLeft; ++r) {                                                    \
              const Vector value = spread(a[r]);                                                         \
              low[r] = fma(value, first, low[r]);                                                        \
              high[r] = fma(value, second, high[r]);                                                     \
            }                                                                                            \
          }                                                                                              \
          float* to = product.out + i * kLeft * product.stride + j * kRight;                             \
          for (std::size_t r = 0; r < kLeft; ++r, to += product.stride) {                                \
            store(to, sum(load(to), low[r]));                                                            \
            store(to + kLanes, sum(load(to + kLanes), high[r]));                                         \
          }                                                                                              \
        }                                                                                                \
      }                                                                                                  \
    }                                                                                                    \
  }                                                                                                      \
  static_assert(true)

PINION_PRODUCT(add_portable, , Four, 4, 4, zero4, load4, spread4, fma4, add4, store4);
constexpr ProductPath kPortableProduct = {4, 8, add_portable};

#if defined(__x86_64__)
PINION_PRODUCT(add_avx2, __attribute__((target("avx2,fma"))), __m256, 8, 6, _mm256_setzero_ps,
               _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_storeu_ps);
PINION_PRODUCT(add_avx512, __attribute__((target("avx512f"))), __m512, 16, 8, _mm512_setzero_ps,
               _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_storeu_ps);
constexpr ProductPath kAvx2Product = {6, 16, add_avx2};
constexpr ProductPath kAvx512Product = {8, 32, add_avx512};
#endif

}  // namespace

const ProductPath& product_path(CpuPath path) {
  PINION_ASSERT(has_cpu_path(path));
#if defined(__x86_64__)
  if (path == CpuPath::kAvx512) return kAvx512Product;
  if (path == CpuPath::kAvx2) return kAvx2Product;
#endif
  return kPortableProduct;
}

void pack_strips(const StripSource& source, float* out) {
  constexpr std::size_t kPiece = 8;  // a call for each piece would take longer than the piece
  for (std::size_t begin = 0; begin < source.columns; begin += source.width, out += source.strip_size) {
    const std::size_t used = std::min(source.width, source.columns - begin);
    const float* row = source.from + begin;
    float* to = out;
    for (std::size_t k = 0; k < source.depth; ++k, row += source.stride, to += source.width) {
      std::size_t i = 0;
      for (; i + kPiece <= used; i += kPiece) std::memcpy(to + i, row + i, kPiece * sizeof(float));
      for (; i < used; ++i) to[i] = row[i];
      for (; i < source.width; ++i) to[i] = 0;
    }
  }
}

}  // namespace pinion::codec
