// Every CPU path of the inner loops gives the same bits, and the right ones.

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <thread>

#include "pinion/codec/codec_testing.h"
#include "pinion/codec/fidelity/fidelity_format.h"
#include "pinion/codec/math/matrix.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {
namespace {

std::vector<CpuPath> paths() {
  std::vector<CpuPath> here;
  for (const CpuPath path : {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512}) {
    if (has_cpu_path(path)) here.push_back(path);
  }
  return here;
}

template <class T>
std::vector<std::byte> bits_of(const T& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

template <class T>
std::vector<std::byte> bits_of_one(const T& value) {
  return bits_of(std::span<const T>(&value, 1));
}

std::vector<float> normal_values(std::size_t count, float size, std::uint32_t seed) {
  testing::Dice dice(seed);
  std::vector<float> values(count);
  for (float& value : values) value = size * static_cast<float>(dice.normal());
  return values;
}

std::vector<std::int32_t> integers(std::size_t count, std::int32_t most, std::uint32_t seed) {
  testing::Dice dice(seed);
  std::vector<std::int32_t> values(count);
  for (std::int32_t& value : values) {
    value = static_cast<std::int32_t>(dice.bits() % (2u * static_cast<std::uint32_t>(most) + 1)) - most;
  }
  return values;
}

// Counts around the widths of vectors, and one that is large.
constexpr std::size_t kCounts[] = {0, 1, 3, 4, 7, 8, 9, 16, 31, 257};

TEST(CpuPaths, PredictionsAreThoseOfTheFormat) {
  for (const std::size_t count : kCounts) {
    const auto first = integers(count, kMaxState, 1), second = integers(count, 100000, 2);
    for (const int use : {0, 1, 2, 3}) {
      const PredictionTerms terms{
          .references = {(use & 1) != 0 ? first.data() : nullptr, (use & 2) != 0 ? second.data() : nullptr},
          .factors = {61 << 15, -(90 << 17)},
          .shift = 22};
      for (const CpuPath path : paths()) {
        std::vector<std::int32_t> out(count, 77);
        vector_loops(path).predict(terms, count, out.data());
        for (std::size_t i = 0; i < count; ++i) {
          std::int64_t sum = 0;
          if ((use & 1) != 0) sum += std::int64_t{first[i]} * terms.factors[0];
          if ((use & 2) != 0) sum += std::int64_t{second[i]} * terms.factors[1];
          ASSERT_EQ(out[i], (sum + (1 << 21)) >> 22) << count << " " << i;
        }
      }
    }
  }
}

TEST(CpuPaths, RoundingIsToNearestEven) {
  for (const float size : {0.3f, 4.0f, 3e6f, 4e7f}) {
    for (const std::size_t count : kCounts) {
      auto values = normal_values(count, size, 3);
      if (count > 4) values[0] = 2.5f, values[1] = -3.5f, values[2] = 0.5f, values[3] = -0.49999997f;
      const std::vector<std::int32_t> prediction(count);
      std::vector<std::byte> expected;
      for (const CpuPath path : paths()) {
        std::vector<float> exact(count);
        std::vector<std::int32_t> rounded(count);
        const BinSums sums = vector_loops(path).round({.values = values.data(),
                                                       .prediction = prediction.data(),
                                                       .shift = 0,
                                                       .inverse_step = 1,
                                                       .count = count},
                                                      exact.data(), rounded.data());
        double ones = 0, more = 0;
        for (std::size_t i = 0; i < count; ++i) {
          EXPECT_EQ(exact[i], values[i]);
          // Beyond 2^22, whole steps are the least that matters.
          const float nearest =
              std::abs(values[i]) < 4194304 ? std::nearbyint(values[i]) : std::trunc(values[i]);
          ASSERT_EQ(static_cast<float>(rounded[i]), nearest) << values[i];
          ones += std::abs(rounded[i]) == 1;
          more += std::abs(rounded[i]) > 1;
        }
        EXPECT_EQ(static_cast<double>(sums.ones), ones);
        EXPECT_EQ(static_cast<double>(sums.more), more);
        auto bits = bits_of(rounded);
        const auto sum_bits = bits_of_one(sums);
        bits.insert(bits.end(), sum_bits.begin(), sum_bits.end());
        if (expected.empty()) expected = bits;
        EXPECT_EQ(bits, expected);
      }
    }
  }
}

TEST(CpuPaths, StatesAdvanceAsTheFormatSays) {
  for (const std::size_t count : kCounts) {
    const auto prediction = integers(count, kMaxState, 4), residuals = integers(count, 3, 5);
    const auto ones = integers(count, 3, 6), more = integers(count, 3, 7);
    std::vector<std::int32_t> one_offset, more_offset;
    for (std::size_t i = 0; i < count; ++i) {
      one_offset.push_back(ones[i] + 3);
      more_offset.push_back(more[i] + 3);
    }
    const auto exact = normal_values(count, 2, 8);
    std::vector<std::byte> expected;
    for (const CpuPath path : paths()) {
      for (const bool measured : {true, false}) {
        std::vector<std::int32_t> state(count);
        const Advanced advanced = vector_loops(path).advance({.exact = measured ? exact.data() : nullptr,
                                                              .prediction = prediction.data(),
                                                              .residuals = residuals.data(),
                                                              .ones_offset = one_offset.data(),
                                                              .more_offset = more_offset.data(),
                                                              .count = count},
                                                             state.data());
        std::int64_t largest = 0;
        for (std::size_t i = 0; i < count; ++i) {
          const BinOffsets offsets{static_cast<std::uint8_t>(one_offset[i]),
                                   static_cast<std::uint8_t>(more_offset[i])};
          ASSERT_EQ(state[i], next_state(prediction[i], residuals[i], offsets));
          largest = std::max<std::int64_t>(largest, std::abs(std::int64_t{state[i]}));
        }
        EXPECT_EQ(advanced.largest, largest);
        if (!measured) continue;
        const auto bits = bits_of_one(advanced);
        if (expected.empty()) expected = bits;
        EXPECT_EQ(bits, expected);
      }
    }
  }
}

// Sums and turned squares: the same on every path, and near a plain computation.
TEST(CpuPaths, SumsAreTheSameBits) {
  for (const std::size_t count : kCounts) {
    const auto a = normal_values(count, 1, 9), b = normal_values(count, 3, 10),
               c = normal_values(count, 2, 11);
    std::vector<double> means(count);
    for (std::size_t i = 0; i < count; ++i) means[i] = 0.1 * static_cast<double>(i);
    std::vector<std::vector<std::byte>> results;
    for (const CpuPath path : paths()) {
      const VectorLoops& loops = vector_loops(path);
      const ProductSums products = loops.products(a.data(), b.data(), c.data(), count);
      double own = 0, cross = 0;
      for (std::size_t i = 0; i < count; ++i)
        own += static_cast<double>(a[i]) * a[i], cross += static_cast<double>(a[i]) * c[i];
      EXPECT_NEAR(products.own, own, 1e-9 * (1 + own));
      EXPECT_NEAR(products.cross[1], cross, 1e-9 * (1 + own));
      std::vector<float> squares(count, 1.0f);
      loops.add_squares(a.data(), 0.25f, 2.0f, count, squares.data());
      RowSums sums;
      std::vector<double> others(count, 0.5);
      loops.measure(a.data(), b.data(), means.data(), count, sums, others.data());
      const double distance = loops.distance(b.data(), means.data(), count);
      auto bits = bits_of_one(products);
      for (const auto& part : {bits_of(squares), bits_of_one(sums), bits_of(others), bits_of_one(distance)}) {
        bits.insert(bits.end(), part.begin(), part.end());
      }
      results.push_back(std::move(bits));
    }
    for (const auto& result : results) EXPECT_EQ(result, results.front());
  }
}

TEST(CpuPaths, SquaresAreTurned) {
  const auto from = normal_values(8 * 11, 1, 12);
  const auto whole = integers(8 * 11, 1000, 13);
  const std::vector<float> offsets(8, 0.5f);
  for (const CpuPath path : paths()) {
    std::vector<float> centred(8 * 9), scaled(8 * 9);
    vector_loops(path).turn_centred(from.data(), 11, offsets.data(), centred.data(), 9);
    vector_loops(path).turn_scaled(whole.data(), 11, 0.25f, scaled.data(), 9);
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        EXPECT_EQ(centred[j * 9 + i], from[i * 11 + j] - 0.5f);
        EXPECT_EQ(scaled[j * 9 + i], static_cast<float>(whole[i * 11 + j]) * 0.25f);
      }
    }
  }
}

TEST(CpuPaths, ProductsOfMatricesAreTheSameBits) {
  for (const auto& [depth, rows, columns] :
       {std::array<std::size_t, 3>{1, 1, 1}, {7, 13, 33}, {300, 200, 70}}) {
    Matrix a(depth, rows), b(depth, columns);
    a.values = normal_values(a.values.size(), 1, 14);
    b.values = normal_values(b.values.size(), 1, 15);
    const Matrix expected = multiply_transposed(a, b, CpuPath::kPortable);
    for (const CpuPath path : paths()) {
      EXPECT_EQ(bits_of(multiply_transposed(a, b, path).values), bits_of(expected.values));
    }
    double sum = 0;
    for (std::size_t k = 0; k < depth; ++k) sum += static_cast<double>(a.row(k)[0]) * b.row(k)[columns - 1];
    EXPECT_NEAR(expected.row(0)[columns - 1], sum, 1e-4);
  }
}

TEST(CpuPaths, EveryThreadEncodesTheSameBytes) {
  const auto sequence =
      testing::low_rank_sequence(DType::kBF16, 3, {.rows = 300, .channels = 96, .rank = 40, .seed = 16});
  const auto run = [&](int helpers = 1) {
    Bytes all;
    const auto encoder =
        Encoder::create({.mode = Mode::kFidelity, .target_snr_db = 20}, {.threads = helpers}).value();
    for (const Tensor& tensor : sequence) {
      const EncodedFrame encoded = encoder->encode(tensor).value();
      all.insert(all.end(), encoded.basis.begin(), encoded.basis.end());
      all.insert(all.end(), encoded.frame.begin(), encoded.frame.end());
    }
    return all;
  };
  const Bytes expected = run();
  EXPECT_EQ(run(2), expected);
  EXPECT_EQ(run(3), expected);
  std::array<Bytes, 3> results;
  std::vector<std::thread> threads;
  for (Bytes& result : results) threads.emplace_back([&] { result = run(); });
  for (std::thread& thread : threads) thread.join();
  for (const Bytes& result : results) EXPECT_EQ(result, expected);
}

}  // namespace
}  // namespace pinion::codec
