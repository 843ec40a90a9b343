#include "pinion/codec/math/vector_loops.h"

#include <algorithm>

#include "pinion/base/assert.h"
#include "pinion/codec/math/vector_ops.h"

namespace pinion::codec {
namespace {

class BinTotals {
 public:
  PINION_INLINE void add(const F8& value, const I8& index) {
    F8 size, index_size, part;
    absolute(size, value);
    const F8 index_value = __builtin_convertvector(index, F8);
    absolute(index_size, index_value);
    const F8 excess = size - index_size;
    const I8 is_one = index_size == 1.0f;
    const I8 is_more = index_size > 1.0f;
    ones_ -= is_one;
    more_ -= is_more;
    masked(part, is_one, excess);
    ones_excess_ += part;
    masked(part, is_more, excess);
    more_excess_ += part;
    square_ += size * size;
    error_ += excess * excess;
    raise(largest_, size);
  }

  PINION_INLINE BinSums sums() const {
    const F8 ones = __builtin_convertvector(ones_, F8);
    const F8 more = __builtin_convertvector(more_, F8);
    return {sum_of(ones),    sum_of(more),   sum_of(ones_excess_), sum_of(more_excess_),
            sum_of(square_), sum_of(error_), largest_of(largest_)};
  }

 private:
  I8 ones_{}, more_{};
  F8 ones_excess_{}, more_excess_{}, square_{}, error_{}, largest_{};
};

PINION_INLINE void predict_body(const PredictionTerms& terms, std::size_t count, std::int32_t* out) {
  const std::int64_t half = std::int64_t{1} << (terms.shift - 1);
  const std::int32_t* first = terms.references[0];
  const std::int32_t* second = terms.references[1];
  const std::int32_t a = terms.factors[0], b = terms.factors[1];
  const int shift = terms.shift;
  // The result fits in 32 bits, so a logical shift has them too.
  if (first != nullptr && second != nullptr) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t sum = std::int64_t{first[i]} * a + std::int64_t{second[i]} * b + half;
      out[i] = static_cast<std::int32_t>(static_cast<std::uint64_t>(sum) >> shift);
    }
  } else if (first != nullptr || second != nullptr) {
    const std::int32_t* only = first != nullptr ? first : second;
    const std::int32_t factor = first != nullptr ? a : b;
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t sum = std::int64_t{only[i]} * factor + half;
      out[i] = static_cast<std::int32_t>(static_cast<std::uint64_t>(sum) >> shift);
    }
  } else {
    std::fill_n(out, count, 0);
  }
}

PINION_INLINE BinSums round_body(const RoundInput& input, float* exact, std::int32_t* rounded) {
  BinTotals totals;
  const auto one = [&](const float* values, const std::int32_t* prediction, float* to,
                       std::int32_t* index_to) {
    F8 value;
    I8 before, index;
    load(value, values);
    load(before, prediction);
    const F8 residual =
        (value - input.shift) * input.inverse_step - __builtin_convertvector(before, F8) * (1.0f / 16);
    nearest(index, residual);
    store(to, residual);
    store(index_to, index);
    totals.add(residual, index);
  };
  in_groups<kLanes>(
      input.count,
      [&](std::size_t i) { one(input.values + i, input.prediction + i, exact + i, rounded + i); },
      [&](std::size_t i, std::size_t n) {
        float values[kLanes] = {}, to[kLanes];
        std::int32_t prediction[kLanes] = {}, index_to[kLanes];
        std::copy_n(input.values + i, n, values);
        std::copy_n(input.prediction + i, n, prediction);
        one(values, prediction, to, index_to);
        std::copy_n(to, n, exact + i);
        std::copy_n(index_to, n, rounded + i);
      });
  return totals.sums();
}

PINION_INLINE WeighedSums quantise_body(const float* values, const float* weights, float inverse_step,
                                        std::size_t count, std::int32_t* rounded) {
  constexpr float kMost = 0x1p26f;
  F8 square{}, error{}, weighed_square{}, weighed_error{}, largest{};
  const auto one = [&](const float* from, const float* weight_of, std::int32_t* to) {
    F8 value, size, weight;
    I8 index;
    load(value, from);
    value *= inverse_step;
    absolute(size, value);
    raise(largest, size);
    const F8 bounded = value > kMost ? kMost - F8{} : value < -kMost ? -kMost - F8{} : value;
    nearest(index, bounded);
    store(to, index);
    const F8 left = value - __builtin_convertvector(index, F8);
    const F8 square_of = value * value, error_of = left * left;
    square += square_of;
    error += error_of;
    if (weight_of == nullptr) return;
    load(weight, weight_of);
    weighed_square += weight * square_of;
    weighed_error += weight * error_of;
  };
  in_groups<kLanes>(
      count, [&](std::size_t i) { one(values + i, weights == nullptr ? nullptr : weights + i, rounded + i); },
      [&](std::size_t i, std::size_t n) {
        float rest[kLanes] = {}, weight[kLanes] = {};
        std::int32_t to[kLanes];
        std::copy_n(values + i, n, rest);
        if (weights != nullptr) std::copy_n(weights + i, n, weight);
        one(rest, weights == nullptr ? nullptr : weight, to);
        std::copy_n(to, n, rounded + i);
      });
  WeighedSums sums{sum_of(square), sum_of(error), 0, 0, largest_of(largest)};
  sums.weighed_square = weights == nullptr ? sums.square : sum_of(weighed_square);
  sums.weighed_error = weights == nullptr ? sums.error : sum_of(weighed_error);
  return sums;
}

PINION_INLINE BinSums bins_body(const float* values, float inverse_step, std::size_t count) {
  BinTotals totals;
  const auto one = [&](const float* from) {
    F8 value;
    I8 index;
    load(value, from);
    value *= inverse_step;
    nearest(index, value);
    totals.add(value, index);
  };
  in_groups<kLanes>(
      count, [&](std::size_t i) { one(values + i); },
      [&](std::size_t i, std::size_t n) {
        float rest[kLanes] = {};
        std::copy_n(values + i, n, rest);
        one(rest);
      });
  return totals.sums();
}

PINION_INLINE void add_squares_body(const float* values, float shift, float weight, std::size_t count,
                                    float* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    const float value = values[i] - shift;
    sums[i] += value * value * weight;
  }
}

PINION_INLINE void turn_centred_body(const float* from, std::size_t from_stride, const float* offsets,
                                     float* to, std::size_t to_stride) {
  F8 rows[8], offset;
  load(offset, offsets);
  for (std::size_t i = 0; i < 8; ++i) {
    load(rows[i], from + i * from_stride);
    rows[i] -= offset;
  }
  turn(rows);
  for (std::size_t i = 0; i < 8; ++i) store(to + i * to_stride, rows[i]);
}

PINION_INLINE void turn_scaled_body(const std::int32_t* from, std::size_t from_stride, float unit, float* to,
                                    std::size_t to_stride) {
  F8 rows[8];
  for (std::size_t i = 0; i < 8; ++i) {
    I8 whole;
    load(whole, from + i * from_stride);
    rows[i] = __builtin_convertvector(whole, F8) * unit;
  }
  turn(rows);
  for (std::size_t i = 0; i < 8; ++i) store(to + i * to_stride, rows[i]);
}

template <bool kMeasured>
PINION_INLINE Advanced advance_body(const AdvanceInput& input, std::int32_t* state) {
  F8 error{};
  I8 largest{};
  const auto one = [&](const float* exact, const std::int32_t* prediction, const std::int32_t* residuals,
                       const std::int32_t* ones, const std::int32_t* more, std::int32_t* to) {
    F8 value;
    I8 before, residual, one_offset, more_offset;
    load(before, prediction);
    load(residual, residuals);
    load(one_offset, ones);
    load(more_offset, more);
    const I8 negative = residual >> 31;
    const I8 size = (residual ^ negative) - negative;
    const I8 offset = ((size == 1) & one_offset) | ((size > 1) & more_offset);
    const I8 moved = size * 16 - offset;
    const I8 change = (moved ^ negative) - negative;
    const I8 next = before + change;
    store(to, next);
    if (kMeasured) {
      load(value, exact);
      const F8 distance = value - __builtin_convertvector(change, F8) * (1.0f / 16);
      error += distance * distance;
    }
    const I8 sign = next >> 31;
    const I8 next_size = (next ^ sign) - sign;
    raise(largest, next_size);
  };
  in_groups<kLanes>(
      input.count,
      [&](std::size_t i) {
        one(kMeasured ? input.exact + i : nullptr, input.prediction + i, input.residuals + i,
            input.ones_offset + i, input.more_offset + i, state + i);
      },
      [&](std::size_t i, std::size_t n) {
        float exact[kLanes] = {};
        std::int32_t parts[4][kLanes] = {}, to[kLanes];
        if (kMeasured) std::copy_n(input.exact + i, n, exact);
        std::copy_n(input.prediction + i, n, parts[0]);
        std::copy_n(input.residuals + i, n, parts[1]);
        std::copy_n(input.ones_offset + i, n, parts[2]);
        std::copy_n(input.more_offset + i, n, parts[3]);
        one(exact, parts[0], parts[1], parts[2], parts[3], to);
        std::copy_n(to, n, state + i);
      });
  return {sum_of(error), largest_of(largest)};
}

PINION_INLINE ProductSums products_body(const float* own, const float* first, const float* second,
                                        std::size_t count) {
  D4 sums[9] = {};
  const auto one = [&](const float* a, const float* b, const float* c) {
    D4 x, y, z;
    widen(x, a);
    widen(y, b);
    widen(z, c);
    sums[0] += x * x;
    sums[1] += x * y;
    sums[2] += x * z;
    sums[3] += y * y;
    sums[4] += z * z;
    sums[5] += y * z;
    sums[6] += x;
    sums[7] += y;
    sums[8] += z;
  };
  in_groups<4>(
      count, [&](std::size_t i) { one(own + i, first + i, second + i); },
      [&](std::size_t i, std::size_t n) {
        float parts[3][4] = {};
        std::copy_n(own + i, n, parts[0]);
        std::copy_n(first + i, n, parts[1]);
        std::copy_n(second + i, n, parts[2]);
        one(parts[0], parts[1], parts[2]);
      });
  return {.sums = {sum_of(sums[6]), sum_of(sums[7]), sum_of(sums[8])},
          .own = sum_of(sums[0]),
          .cross = {sum_of(sums[1]), sum_of(sums[2])},
          .square = {sum_of(sums[3]), sum_of(sums[4])},
          .between = sum_of(sums[5])};
}

PINION_INLINE float priced_body(const std::int32_t* counts, const float* prices, std::size_t count) {
  F8 sum{};
  for (std::size_t i = 0; i < count; i += kLanes) {
    I8 n;
    F8 price;
    load(n, counts + i);
    load(price, prices + i);
    sum += __builtin_convertvector(n, F8) * price;
  }
  return sum_of(sum);
}

PINION_INLINE void bound_body(float* values, std::size_t count, float limit) {
  const F8 most = limit - F8{}, least = -limit - F8{};
  const auto one = [&](float* at) {
    F8 value, known;
    load(value, at);
    const I8 is_number = value == value;
    masked(known, is_number, value);
    known = known > most ? most : known;
    known = known < least ? least : known;
    store(at, known);
  };
  in_groups<kLanes>(
      count, [&](std::size_t i) { one(values + i); },
      [&](std::size_t i, std::size_t n) {
        float rest[kLanes] = {};
        std::copy_n(values + i, n, rest);
        one(rest);
        std::copy_n(rest, n, values + i);
      });
}

PINION_INLINE double distance_body(const float* values, const double* from, std::size_t count) {
  D4 sum{};
  const auto one = [&](const float* a, const double* b) {
    D4 x, y;
    widen(x, a);
    load(y, b);
    x -= y;
    sum += x * x;
  };
  in_groups<4>(
      count, [&](std::size_t i) { one(values + i, from + i); },
      [&](std::size_t i, std::size_t n) {
        float a[4] = {};
        double b[4] = {};
        std::copy_n(values + i, n, a);
        std::copy_n(from + i, n, b);
        one(a, b);
      });
  return sum_of(sum);
}

PINION_INLINE void measure_body(const float* original, const float* other, const double* means,
                                std::size_t count, RowSums& sums, double* other_sums) {
  D4 totals[4] = {}, largest{};
  const auto one = [&](const float* a, const float* b, const double* mean, double* other_to) {
    D4 x, y, m, other_sum;
    widen(x, a);
    widen(y, b);
    load(m, mean);
    load(other_sum, other_to);
    x -= m;
    y -= m;
    other_sum += y;
    store(other_to, other_sum);
    const D4 difference = x - y;
    totals[0] += x * x;
    totals[1] += y * y;
    totals[2] += x * y;
    totals[3] += difference * difference;
    const D4 size = difference < 0 ? -difference : difference;
    raise(largest, size);
  };
  in_groups<4>(
      count, [&](std::size_t i) { one(original + i, other + i, means + i, other_sums + i); },
      [&](std::size_t i, std::size_t n) {
        float a[4] = {}, b[4] = {};
        double m[4] = {}, to[4] = {};
        std::copy_n(original + i, n, a);
        std::copy_n(other + i, n, b);
        std::copy_n(means + i, n, m);
        std::copy_n(other_sums + i, n, to);
        one(a, b, m, to);
        std::copy_n(to, n, other_sums + i);
      });
  sums.signal += sum_of(totals[0]);
  sums.other += sum_of(totals[1]);
  sums.cross += sum_of(totals[2]);
  sums.error += sum_of(totals[3]);
  sums.largest = std::max(sums.largest, largest_of(largest));
}

// One set of functions: the bodies, built for a CPU path.
#define PINION_LOOP_SET(set, attributes)                                                                    \
  struct set {                                                                                              \
    attributes static void predict(const PredictionTerms& terms, std::size_t count, std::int32_t* out) {    \
      predict_body(terms, count, out);                                                                      \
    }                                                                                                       \
    attributes static BinSums round(const RoundInput& input, float* exact, std::int32_t* rounded) {         \
      return round_body(input, exact, rounded);                                                             \
    }                                                                                                       \
    attributes static WeighedSums quantise(const float* values, const float* weights, float inverse_step,   \
                                           std::size_t count, std::int32_t* rounded) {                      \
      return quantise_body(values, weights, inverse_step, count, rounded);                                  \
    }                                                                                                       \
    attributes static BinSums bins(const float* values, float inverse_step, std::size_t count) {            \
      return bins_body(values, inverse_step, count);                                                        \
    }                                                                                                       \
    attributes static void add_squares(const float* values, float shift, float weight, std::size_t count,   \
                                       float* sums) {                                                       \
      add_squares_body(values, shift, weight, count, sums);                                                 \
    }                                                                                                       \
    attributes static void turn_centred(const float* from, std::size_t from_stride, const float* offsets,   \
                                        float* to, std::size_t to_stride) {                                 \
      turn_centred_body(from, from_stride, offsets, to, to_stride);                                         \
    }                                                                                                       \
    attributes static void turn_scaled(const std::int32_t* from, std::size_t from_stride, float unit,       \
                                       float* to, std::size_t to_stride) {                                  \
      turn_scaled_body(from, from_stride, unit, to, to_stride);                                             \
    }                                                                                                       \
    attributes static Advanced advance(const AdvanceInput& input, std::int32_t* state) {                    \
      return input.exact != nullptr ? advance_body<true>(input, state) : advance_body<false>(input, state); \
    }                                                                                                       \
    attributes static ProductSums products(const float* own, const float* first, const float* second,       \
                                           std::size_t count) {                                             \
      return products_body(own, first, second, count);                                                      \
    }                                                                                                       \
    attributes static float priced(const std::int32_t* counts, const float* prices, std::size_t count) {    \
      return priced_body(counts, prices, count);                                                            \
    }                                                                                                       \
    attributes static void bound(float* values, std::size_t count, float limit) {                           \
      bound_body(values, count, limit);                                                                     \
    }                                                                                                       \
    attributes static double distance(const float* values, const double* from, std::size_t count) {         \
      return distance_body(values, from, count);                                                            \
    }                                                                                                       \
    attributes static void measure(const float* original, const float* other, const double* means,          \
                                   std::size_t count, RowSums& sums, double* other_sums) {                  \
      measure_body(original, other, means, count, sums, other_sums);                                        \
    }                                                                                                       \
    static constexpr VectorLoops kLoops = {predict, round,    quantise, bins,         add_squares,          \
                                           advance, products, priced,   turn_centred, turn_scaled,          \
                                           bound,   distance, measure};                                     \
  }

PINION_LOOP_SET(Portable, );
PINION_BUILD_FOR_AVX2(PINION_LOOP_SET, Avx2, Portable);

}  // namespace

const VectorLoops& vector_loops(CpuPath path) { return built_for(path, Portable::kLoops, Avx2::kLoops); }

const VectorLoops& vector_loops() { return vector_loops(best_cpu_path()); }

}  // namespace pinion::codec
