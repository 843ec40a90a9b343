// Modes 4 and 5: the rate is what it says, and no element is off by more than half a step of its group.

#include <gtest/gtest.h>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/groups/group_loops.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;

const std::vector<Shape> kShapes = {{},     {1},     {31},       {32},     {33},       {1, 1},
                                    {7, 1}, {8, 33}, {3, 5, 37}, {64, 64}, {3, 16384}, {2001, 35}};

TEST(Groups, ElementsAreWithinHalfAStep) {
  for (const Mode mode : {Mode::kInt8, Mode::kInt4}) {
    const double most = mode == Mode::kInt8 ? 127 : 7;
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(name(mode)) + " " + std::string(name(dtype)) + " " + to_string(shape));
        testing::Dice dice(3);
        std::vector<float> values(static_cast<std::size_t>(shape.elements()));
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] = static_cast<float>(std::ldexp(dice.normal(), static_cast<int>(i % 700 / 35) - 12));
        values.back() = 65504;
        const Tensor tensor = testing::tensor_of(dtype, shape, values);
        const EncodedFrame encoded = testing::encoder_of({.mode = mode})->encode(tensor).value();
        EXPECT_EQ(encoded.frame, testing::encoder_of({.mode = mode})->encode(tensor)->frame);
        const auto decoded = Decoder::create()->decode(encoded.frame, kGenerous);
        ASSERT_TRUE(decoded.ok()) << decoded.error().message();
        ASSERT_EQ(decoded->shape(), shape);
        EXPECT_LE(encoded.frame.size(), std::min(group_body_bytes(mode, shape), tensor.bytes()) + 40);
        const auto channels = static_cast<std::size_t>(channels_of(shape));
        for (std::size_t i = 0; i < values.size(); ++i) {
          const std::size_t row = i / channels, first = i % channels / 32 * 32;
          double largest = 0;
          for (std::size_t c = first; c < std::min(channels, first + 32); ++c) {
            largest = std::max<double>(
                largest, std::abs(load_as_float(tensor.view().data, dtype,
                                                static_cast<std::int64_t>(row * channels + c))));
          }
          const double x = load_as_float(tensor.view().data, dtype, static_cast<std::int64_t>(i));
          const double y = load_as_float(decoded->view().data, dtype, static_cast<std::int64_t>(i));
          // A scale is up to 1/128 larger than it had to be, and a bf16 value has 8 bits.
          ASSERT_LE(std::abs(x - y), largest / most * (1 + 1 / 128.0) / 2 + std::abs(x) / 256 + 1e-38) << i;
        }
        if (tensor.elements() > 1000) {
          EXPECT_NEAR(encoded.stats.snr_db, testing::measure_again(tensor, *decoded).snr_db, 1e-2);
        }
      }
    }
  }
}

TEST(Groups, TinyHugeAndEmptyGroups) {
  for (const Mode mode : {Mode::kInt8, Mode::kInt4}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const float limit = dtype == DType::kF16 ? 65504.0f : 3.38e38f;
      std::vector<float> values(128);
      for (std::size_t i = 0; i < 32; ++i) values[i] = 1e-44f;
      for (std::size_t i = 64; i < 96; ++i) values[i] = i % 2 ? limit : -limit;
      const Tensor tensor = testing::tensor_of(dtype, {2, 64}, values);
      const auto encoded = testing::encoder_of({.mode = mode})->encode(tensor);
      const auto decoded = Decoder::create()->decode(encoded->frame, kGenerous);
      ASSERT_TRUE(decoded.ok());
      for (std::int64_t i = 0; i < 128; ++i) {
        const double x = load_as_float(tensor.view().data, dtype, i);
        EXPECT_NEAR(load_as_float(decoded->view().data, dtype, i), x, std::abs(x) / 100 + 1e-40) << i;
      }
    }
  }
}

TEST(Groups, WhatIsNotFiniteIsRefused) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      std::vector<float> values(200, 1.0f);
      values[150] = bad;
      const auto encoded =
          testing::encoder_of({.mode = Mode::kInt8})->encode(testing::tensor_of(dtype, {10, 20}, values));
      ASSERT_FALSE(encoded.ok());
      EXPECT_EQ(encoded.error().code, Errc::kInvalidArgument);
    }
  }
}

TEST(Groups, EveryPathGivesTheSameBits) {
  testing::Dice dice(9);
  float values[64];
  for (float& value : values) value = static_cast<float>(dice.normal() * 40);
  values[5] = 2.5f, values[6] = -2.5f, values[7] = 1e30f;
  const GroupLoops& expected = group_loops(CpuPath::kPortable);
  for (const CpuPath path : {CpuPath::kAvx2, CpuPath::kAvx512}) {
    if (!has_cpu_path(path)) continue;
    const GroupLoops& loops = group_loops(path);
    for (const std::size_t count : {0, 1, 7, 32, 33, 64}) {
      for (const float most : {127.0f, 7.0f}) {
        struct Results {
          std::uint16_t scales[2] = {}, narrow[64] = {};
          std::int8_t integers[64] = {}, unpacked[64] = {};
          float largest = 0, decoded[64] = {}, wide[64] = {};
          std::uint8_t packed[32] = {};
        };
        const auto run = [&](const GroupLoops& with) {
          Results results;
          results.largest = with.encode(values, count, most, results.scales, results.integers);
          with.decode(results.integers, results.scales, count, 1e29f, results.decoded);
          with.narrow_bf16(results.decoded, count, results.narrow);
          with.widen_bf16(results.narrow, count, results.wide);
          with.pack(results.integers, count / 2 * 2, results.packed);
          with.unpack(results.packed, count / 2 * 2, results.unpacked);
          return results;
        };
        const Results a = run(expected), b = run(loops);
        EXPECT_EQ(a.largest, b.largest);
        EXPECT_TRUE(std::ranges::equal(a.scales, b.scales));
        EXPECT_TRUE(std::ranges::equal(a.integers, b.integers));
        EXPECT_TRUE(std::ranges::equal(a.decoded, b.decoded));
        EXPECT_TRUE(std::ranges::equal(a.narrow, b.narrow));
        EXPECT_TRUE(std::ranges::equal(a.wide, b.wide));
        EXPECT_TRUE(std::ranges::equal(a.packed, b.packed));
        EXPECT_TRUE(std::ranges::equal(a.unpacked, b.unpacked));
        for (std::size_t i = 0; i < count / 2 * 2 && most == 7; ++i) EXPECT_EQ(a.unpacked[i], a.integers[i]);
      }
    }
  }
}

}  // namespace
}  // namespace pinion::codec
