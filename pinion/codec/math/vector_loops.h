#pragma once
// The inner loops of modes 2 and 6 over the rows of a component or the channels of a row. Each is built once
// per CPU path from one body with fixed lanes and no fused operations, so that all paths give the same bits.
// Thread-safe, no state; nothing is allocated. Pointers are to `count` values each.

#include <array>
#include <cstddef>
#include <cstdint>

#include "pinion/codec/math/cpu_path.h"

namespace pinion::codec {

// What components are predicted from (docs/format.md §6.4); a null reference is one of zeros.
struct PredictionTerms {
  std::array<const std::int32_t*, 2> references{};
  std::array<std::int32_t, 2> factors{};
  int shift = 0;  // 1 to 31: the sum is divided by 2^shift, to nearest, ties up
};

// Values in steps, as they fall into the bins of a quantiser that rounds to nearest.
struct BinSums {
  float ones = 0, more = 0;                // how many have size 1, and more
  float ones_excess = 0, more_excess = 0;  // sums of |value| - |index| of those
  float square = 0;                        // sum of squares
  float error = 0;                         // sum of squared distances from the index
  float largest = 0;                       // |value|
};

// The same for values whose errors count by a weight each.
struct WeighedSums {
  float square = 0, error = 0;
  float weighed_square = 0, weighed_error = 0;
  float largest = 0;  // |value|
};

struct RoundInput {
  const float* values;
  const std::int32_t* prediction;  // in sixteenths of a step
  float shift;                     // subtracted from the values
  float inverse_step;
  std::size_t count;
};

struct AdvanceInput {
  const float* exact;              // residuals before rounding, in steps; null: no error is wanted
  const std::int32_t* prediction;  // in sixteenths of a step
  const std::int32_t* residuals;
  const std::int32_t* ones_offset;  // of each row, in sixteenths of a step
  const std::int32_t* more_offset;
  std::size_t count;
};

struct Advanced {
  float error = 0;           // sum of squares, in squared steps
  std::int32_t largest = 0;  // |state|
};

struct ProductSums {
  std::array<double, 3> sums{};  // of own, first and second
  double own = 0;
  std::array<double, 2> cross{};
  std::array<double, 2> square{};
  double between = 0;
};

// Sums over one row of channels, for a measure of both tensors about the original's means.
struct RowSums {
  double signal = 0, other = 0, cross = 0, error = 0, largest = 0;
};

struct VectorLoops {
  // The sum of the terms must fit in 32 bits after the shift.
  void (*predict)(const PredictionTerms& terms, std::size_t count, std::int32_t* out);
  // exact = (values - shift) / step - prediction; rounded = its nearest integers. Sizes below 2^31.
  BinSums (*round)(const RoundInput& input, float* exact, std::int32_t* rounded);
  // Nearest integers of values * inverse_step, of which those above 2^26 in size become that. `weights` may
  // be null: all are 1.
  WeighedSums (*quantise)(const float* values, const float* weights, float inverse_step, std::size_t count,
                          std::int32_t* rounded);
  BinSums (*bins)(const float* values, float inverse_step, std::size_t count);
  // sums[i] += weight * (values[i] - shift)^2
  void (*add_squares)(const float* values, float shift, float weight, std::size_t count, float* sums);
  Advanced (*advance)(const AdvanceInput& input, std::int32_t* state);
  ProductSums (*products)(const float* own, const float* first, const float* second, std::size_t count);
  // weights[i] . values[i], for counts and what each costs; `count` is a multiple of 8.
  float (*priced)(const std::int32_t* counts, const float* prices, std::size_t count);
  // Turns 8 x 8 values, `from_stride` and `to_stride` apart from row to row: to[c][r] = from[r][c] -
  // offsets[c],
  void (*turn_centred)(const float* from, std::size_t from_stride, const float* offsets, float* to,
                       std::size_t to_stride);
  // and to[c][r] = from[r][c] * unit.
  void (*turn_scaled)(const std::int32_t* from, std::size_t from_stride, float unit, float* to,
                      std::size_t to_stride);
  // Values outside of ±limit become that, NaN 0.
  void (*bound)(float* values, std::size_t count, float limit);
  double (*distance)(const float* values, const double* from, std::size_t count);  // squared
  // Adds the row to `sums` and its deviations of `other` to other_sums.
  void (*measure)(const float* original, const float* other, const double* means, std::size_t count,
                  RowSums& sums, double* other_sums);
};

inline constexpr std::size_t kTurned = 8;  // side of what turn_centred() and turn_scaled() turn

// Only where the CPU has that path.
const VectorLoops& vector_loops(CpuPath path);

// For the CPU that this runs on.
const VectorLoops& vector_loops();

}  // namespace pinion::codec
