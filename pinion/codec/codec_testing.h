#pragma once
// Tensors and measures for the codec's tests. Everything is the same on every machine and standard library.
// Pure functions, but Dice, which is used by one thread.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "pinion/base/float_formats.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec::testing {

inline constexpr DecodeLimits kGenerous = {.max_tensor_bytes = 64u << 20};

inline constexpr BasisLimits kGenerousBasis = {.max_channels = 4096, .max_coefficients = 1 << 22};

class Dice {
 public:
  explicit Dice(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t bits() { return static_cast<std::uint32_t>(engine_()); }
  double uniform() { return bits() / 4294967296.0; }
  // Nearly normal, variance 1.
  double normal() { return (uniform() + uniform() + uniform() + uniform() - 2) * std::sqrt(3.0); }

 private:
  std::mt19937 engine_;
};

inline Tensor tensor_of(DType dtype, const Shape& shape, const std::vector<float>& values) {
  Tensor tensor = Tensor::empty(dtype, shape);
  from_float(values.data(), tensor.elements(), dtype, tensor.mutable_data());
  return tensor;
}

// Every bit pattern of the type may occur, NaN and infinity too.
inline Tensor random_bits(DType dtype, const Shape& shape, std::uint32_t seed) {
  Tensor tensor = Tensor::empty(dtype, shape);
  Dice dice(seed);
  for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.mutable_data()[i] = std::byte(dice.bits() & 0xff);
  return tensor;
}

inline Tensor filled(DType dtype, const Shape& shape, std::byte value) {
  Tensor tensor = Tensor::empty(dtype, shape);
  std::fill_n(tensor.mutable_data(), tensor.bytes(), value);
  return tensor;
}

struct LowRank {
  std::int64_t rows = 256;
  std::int64_t channels = 128;
  std::size_t rank = 12;
  double noise = 0.02;  // of each value, where the low-rank part has variance about 1
  double kept = 0.9;    // correlation of successive tensors
  double fall = 1;      // direction k has amplitude 1 / (1 + fall k)
  std::uint32_t seed = 1;
};

// Successive tensors whose rows lie near one subspace that all of them share, with means per channel: what
// hidden states look like.
inline std::vector<Tensor> low_rank_sequence(DType dtype, std::size_t count, const LowRank& form) {
  Dice dice(form.seed);
  const auto rows = static_cast<std::size_t>(form.rows), channels = static_cast<std::size_t>(form.channels);
  std::vector<double> directions(form.rank * channels), coordinates(rows * form.rank), means(channels);
  for (double& value : directions) value = dice.normal();
  for (double& value : coordinates) value = dice.normal();
  for (double& value : means) value = 2 * dice.normal();
  std::vector<Tensor> sequence;
  for (std::size_t t = 0; t < count; ++t) {
    std::vector<float> values(rows * channels);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < channels; ++c) {
        double value = 0;
        for (std::size_t k = 0; k < form.rank; ++k) {
          value += coordinates[r * form.rank + k] * directions[k * channels + c] /
                   (1 + form.fall * static_cast<double>(k));
        }
        values[r * channels + c] = static_cast<float>(means[c] + value + form.noise * dice.normal());
      }
    }
    sequence.push_back(tensor_of(dtype, {form.rows, form.channels}, values));
    for (double& value : coordinates) {
      value = form.kept * value + std::sqrt(1 - form.kept * form.kept) * dice.normal();
    }
  }
  return sequence;
}

// A basis asset of the subspace in which the low-rank part of those tensors lies.
inline Bytes basis_of(const LowRank& form) {
  Dice dice(form.seed);
  const auto channels = static_cast<std::size_t>(form.channels);
  Matrix directions(form.rank, channels);
  for (float& value : directions.values) value = static_cast<float>(dice.normal());
  for (std::size_t k = 0; k < form.rank; ++k) {  // Gram-Schmidt
    const auto row = directions.row(k);
    for (std::size_t before = 0; before <= k; ++before) {
      const auto other = directions.row(before);
      const float along = std::inner_product(row.begin(), row.end(), other.begin(), 0.0f);
      const float scale = before == k ? 1 / std::sqrt(along) : 1.0f;
      for (std::size_t c = 0; c < channels; ++c) {
        row[c] = before == k ? row[c] * scale : row[c] - along * other[c];
      }
    }
  }
  return encode_basis(directions, std::vector<double>(form.rank, 1.0 / 1024));
}

inline Tensor low_rank(DType dtype, const LowRank& form) { return low_rank_sequence(dtype, 1, form).front(); }

struct Fidelity {
  double snr_db = 0;
  double cosine = 0;
  double max_error = 0;
};

// The measure that codec.h promises, written down once more: SNR about the original's mean of each channel;
// for the cosine each tensor is taken about its own.
inline Fidelity measure_again(const TensorView& original, const TensorView& decoded) {
  const auto count = static_cast<std::size_t>(original.elements());
  const std::size_t rank = original.shape.rank();
  const std::size_t channels = rank == 0 ? 1 : static_cast<std::size_t>(original.shape[rank - 1]);
  std::vector<long double> means(channels);
  for (std::size_t i = 0; i < count; ++i)
    means[i % channels] += load_as_float(original.data, original.dtype, static_cast<std::int64_t>(i));
  for (long double& mean : means) mean /= static_cast<long double>(count / channels);
  std::vector<long double> other_means(channels);
  for (std::size_t i = 0; i < count; ++i)
    other_means[i % channels] += load_as_float(decoded.data, decoded.dtype, static_cast<std::int64_t>(i));
  for (long double& mean : other_means) mean /= static_cast<long double>(count / channels);
  long double signal = 0, other = 0, both = 0, error = 0, largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const long double x = load_as_float(original.data, original.dtype, at) - means[i % channels];
    const long double y = load_as_float(decoded.data, decoded.dtype, at) - other_means[i % channels];
    const long double difference = x + means[i % channels] - y - other_means[i % channels];
    signal += x * x;
    other += y * y;
    both += x * y;
    error += difference * difference;
    largest = std::max(largest, std::abs(difference));
  }
  if (error == 0) return {std::numeric_limits<double>::infinity(), 1, 0};
  const long double cosine = other > 1e-12l * signal ? both / std::sqrt(signal * other) : 0;
  return {static_cast<double>(10 * std::log10(signal / error)), static_cast<double>(cosine),
          static_cast<double>(largest)};
}

inline bool same_tensor(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && std::ranges::equal(a.span(), b.span());
}

inline std::unique_ptr<Encoder> encoder_of(const Profile& profile) {
  return Encoder::create(profile).value();
}

// A decoder that is given a frame's basis first, as a link does it.
inline Result<Tensor> decode_next(Decoder& decoder, const EncodedFrame& encoded,
                                  const DecodeLimits& limits = kGenerous) {
  if (!encoded.basis.empty()) PINION_TRY_VOID(decoder.add_basis(encoded.basis, kGenerousBasis));
  return decoder.decode(encoded.frame, limits);
}

// Orthonormal rows [count, channels].
inline Matrix orthonormal_rows(std::size_t count, std::size_t channels, Dice& dice) {
  Matrix rows(count, channels);
  for (float& value : rows.values) value = static_cast<float>(dice.normal());
  for (std::size_t k = 0; k < count; ++k) {
    for (std::size_t before = 0; before <= k; ++before) {
      const auto row = rows.row(k), other = rows.row(before);
      const float along = std::inner_product(row.begin(), row.end(), other.begin(), 0.0f);
      for (std::size_t c = 0; c < channels; ++c) {
        row[c] = before == k ? row[c] / std::sqrt(along) : row[c] - along * other[c];
      }
    }
  }
  return rows;
}

}  // namespace pinion::codec::testing
