#pragma once
// Small vectors and what is done with them, for the bodies of vector_loops.cc. Everything is inlined into
// functions of one CPU path, so vectors go by reference: passing them by value would depend on the path.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pinion/codec/math/inline.h"

namespace pinion::codec {

constexpr std::size_t kLanes = 8;
typedef float F8 __attribute__((vector_size(32)));
typedef std::int32_t I8 __attribute__((vector_size(32)));
typedef float F4 __attribute__((vector_size(16)));
typedef double D4 __attribute__((vector_size(32)));

// A vector anywhere in memory. GCC makes two halves of a memcpy() this long, and reading the whole then waits
// for both.
template <class Vector>
struct __attribute__((packed, may_alias)) Anywhere {
  Vector vector;
};

template <class Vector, class T>
PINION_INLINE void load(Vector& to, const T* from) {
  to = reinterpret_cast<const Anywhere<Vector>*>(from)->vector;
}

template <class Vector, class T>
PINION_INLINE void store(T* to, const Vector& from) {
  reinterpret_cast<Anywhere<Vector>*>(to)->vector = from;
}

PINION_INLINE void absolute(F8& out, const F8& in) {
  I8 bits;
  std::memcpy(&bits, &in, sizeof(bits));
  bits &= 0x7fffffff;
  std::memcpy(&out, &bits, sizeof(bits));
}

// Values where the mask is set, else 0.
PINION_INLINE void masked(F8& out, const I8& mask, const F8& in) {
  I8 bits;
  std::memcpy(&bits, &in, sizeof(bits));
  bits &= mask;
  std::memcpy(&out, &bits, sizeof(bits));
}

// To the nearest integer, ties to even, below 2^22; larger values lose their fraction.
PINION_INLINE void nearest(I8& out, const F8& in) {
  constexpr float kBig = 12582912.0f;  // 1.5 * 2^23: sums with it have no fraction
  F8 size;
  absolute(size, in);
  const I8 small = size < 4194304.0f;
  const F8 rounded = (in + kBig) - kBig;
  F8 low, high;
  masked(low, small, rounded);
  masked(high, ~small, in);
  out = __builtin_convertvector(low + high, I8);
}

PINION_INLINE float sum_of(const F8& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
PINION_INLINE double sum_of(const D4& v) { return (v[0] + v[2]) + (v[1] + v[3]); }

template <class Vector>
PINION_INLINE auto largest_of(const Vector& v) {
  auto largest = v[0];
  for (std::size_t i = 1; i < sizeof(Vector) / sizeof(v[0]); ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
}

template <class Vector>
PINION_INLINE void raise(Vector& to, const Vector& by) {
  to = by > to ? by : to;
}

// Calls whole(i) for each full group of kWidth and rest(i, n) for what is left.
template <std::size_t kWidth, class Whole, class Rest>
PINION_INLINE void in_groups(std::size_t count, Whole whole, Rest rest) {
  std::size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) whole(i);
  if (i < count) rest(i, count - i);
}

PINION_INLINE void widen(D4& out, const float* from) {
  F4 narrow;
  load(narrow, from);
  out = __builtin_convertvector(narrow, D4);
}

// Transposes eight vectors of eight. Each shuffle is one instruction of AVX2.
PINION_INLINE void turn(F8* rows) {
  F8 pairs[8], quads[8];
  for (std::size_t i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (std::size_t i = 0; i < 8; i += 4) {
    for (std::size_t j = 0; j < 2; ++j) {
      const F8 &low = pairs[i + j], &high = pairs[i + j + 2];
      quads[i + 2 * j] = __builtin_shufflevector(low, high, 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * j + 1] = __builtin_shufflevector(low, high, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    rows[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace pinion::codec
