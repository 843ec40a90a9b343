#include "pinion/base/float_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace pinion {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct FormatSpec {
  int exponent_bits;
  int mantissa_bits;
};

// The value of an IEEE-like code from its definition, in double.
double by_definition(unsigned code, FormatSpec spec) {
  const int bias = (1 << (spec.exponent_bits - 1)) - 1;
  const unsigned mantissa = code & ((1u << spec.mantissa_bits) - 1);
  const int exponent = static_cast<int>(code >> spec.mantissa_bits) & ((1 << spec.exponent_bits) - 1);
  const bool negative = (code >> (spec.mantissa_bits + spec.exponent_bits)) & 1;
  double value;
  if (exponent == (1 << spec.exponent_bits) - 1) {
    value = mantissa != 0 ? std::nan("") : std::numeric_limits<double>::infinity();
  } else {
    const double significand = mantissa / std::pow(2.0, spec.mantissa_bits) + (exponent == 0 ? 0.0 : 1.0);
    value = significand * std::pow(2.0, (exponent == 0 ? 1 : exponent) - bias);
  }
  return negative ? -value : value;
}

void expect_same_number(float actual, double wanted, unsigned code) {
  if (std::isnan(wanted)) {
    ASSERT_TRUE(std::isnan(actual)) << code;
  } else {
    ASSERT_EQ(static_cast<double>(actual), wanted) << code;
    ASSERT_EQ(std::signbit(actual), std::signbit(wanted)) << code;
  }
}

TEST(FloatFormats, EveryF16CodeDecodesByDefinitionAndRoundTrips) {
  for (unsigned code = 0; code < 65536; ++code) {
    const float value = f16_to_float(static_cast<std::uint16_t>(code));
    expect_same_number(value, by_definition(code, {5, 10}), code);
    const unsigned quiet_bit = std::isnan(value) ? 0x200u : 0u;
    ASSERT_EQ(float_to_f16(value), code | quiet_bit) << code;
  }
}

TEST(FloatFormats, EveryBf16CodeDecodesByDefinitionAndRoundTrips) {
  for (unsigned code = 0; code < 65536; ++code) {
    const float value = bf16_to_float(static_cast<std::uint16_t>(code));
    expect_same_number(value, by_definition(code, {8, 7}), code);
    const unsigned quiet_bit = std::isnan(value) ? 0x40u : 0u;
    ASSERT_EQ(float_to_bf16(value), code | quiet_bit) << code;
  }
}

// Between each pair of neighbours: the middle goes to the even code, one step beside it to the nearer.
template <class Encode>
void check_rounding(unsigned largest_finite, FormatSpec spec, Encode encode) {
  const unsigned sign_bit = 1u << (spec.exponent_bits + spec.mantissa_bits);
  for (unsigned code = 0; code <= largest_finite; ++code) {
    const double below = by_definition(code, spec);
    // Beyond the largest finite value the next step of the grid stands for infinity.
    const double above = code == largest_finite ? below + (below - by_definition(code - 1, spec))
                                                : by_definition(code + 1, spec);
    const double middle = (below + above) / 2;
    const float tie = static_cast<float>(middle);
    ASSERT_EQ(static_cast<double>(tie), middle) << "the middle of two neighbours is exact in float32";
    const unsigned even = (code & 1) == 0 ? code : code + 1;
    ASSERT_EQ(encode(tie), even) << code;
    ASSERT_EQ(encode(std::nextafter(tie, 0.0f)), code) << code;
    ASSERT_EQ(encode(std::nextafter(tie, kInfinity)), code + 1) << code;
    ASSERT_EQ(encode(-tie), even | sign_bit) << code;
  }
}

TEST(FloatFormats, F16RoundsToNearestEvenEverywhere) { check_rounding(0x7bff, {5, 10}, float_to_f16); }
TEST(FloatFormats, Bf16RoundsToNearestEvenEverywhere) { check_rounding(0x7f7f, {8, 7}, float_to_bf16); }

TEST(FloatFormats, ExtremesOfFloat32) {
  EXPECT_EQ(float_to_f16(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(float_to_f16(-kInfinity), 0xfc00);
  EXPECT_EQ(float_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(float_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bf16(-0.0f), 0x8000);
}

// A NaN whose payload lies only in the bits that are cut off must stay a NaN.
TEST(FloatFormats, NanNeverBecomesInfinity) {
  for (const std::uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0x7fc00000u}) {
    const auto value = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(value)))) << bits;
    EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(value)))) << bits;
    EXPECT_EQ(std::signbit(bf16_to_float(float_to_bf16(value))), (bits >> 31) != 0) << bits;
  }
}

TEST(FloatFormats, EveryF8E5M2CodeIsTheUpperByteOfAnF16) {
  for (unsigned code = 0; code < 256; ++code) {
    const double wanted = by_definition(code << 8, {5, 10});
    expect_same_number(f8e5m2_to_float(static_cast<std::uint8_t>(code)), wanted, code);
  }
}

// OCP OFP8: like IEEE with bias 7, but the top exponent holds numbers and only 0x7f/0xff are NaN.
TEST(FloatFormats, EveryF8E4M3Code) {
  for (unsigned code = 0; code < 256; ++code) {
    const unsigned exponent = (code >> 3) & 15;
    const unsigned mantissa = code & 7;
    double wanted = exponent == 0 ? mantissa * std::pow(2.0, -9)
                                  : (8 + mantissa) * std::pow(2.0, static_cast<int>(exponent) - 10);
    if ((code & 0x7f) == 0x7f) wanted = std::nan("");
    expect_same_number(f8e4m3_to_float(static_cast<std::uint8_t>(code)), code < 128 ? wanted : -wanted, code);
  }
  EXPECT_EQ(f8e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(f8e4m3_to_float(0x01), 0.001953125f);
}

TEST(FloatFormats, ArraysAgreeWithScalars) {
  const std::vector<float> values{0.0f, 1.0f, -2.5f, 1e-3f, 300.0f, -0.1f, 65504.0f};
  const auto count = static_cast<std::int64_t>(values.size());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<std::byte> coded(values.size() * size_bytes(dtype));
    from_float(values.data(), count, dtype, coded.data());
    std::vector<float> decoded(values.size());
    to_float(coded.data(), dtype, count, decoded.data());
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = values[static_cast<std::size_t>(i)];
      float wanted = value;
      if (dtype == DType::kF16) wanted = f16_to_float(float_to_f16(value));
      if (dtype == DType::kBF16) wanted = bf16_to_float(float_to_bf16(value));
      EXPECT_EQ(decoded[static_cast<std::size_t>(i)], wanted) << name(dtype) << ' ' << i;
      EXPECT_EQ(load_as_float(coded.data(), dtype, i), wanted) << name(dtype) << ' ' << i;
    }
  }
}

TEST(FloatFormats, EmptyArraysNeedNoMemory) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    to_float(nullptr, dtype, 0, nullptr);
    from_float(nullptr, 0, dtype, nullptr);
  }
}

TEST(FloatFormats, ArraysOfTheReadOnlyFormats) {
  const double doubles[] = {0.1, -1e300, 3.0};
  std::vector<float> decoded(3);
  to_float(reinterpret_cast<const std::byte*>(doubles), DType::kF64, 3, decoded.data());
  EXPECT_EQ(decoded, (std::vector<float>{0.1f, -kInfinity, 3.0f}));
  const std::uint8_t codes[] = {0x38, 0xb8, 0x00};
  to_float(reinterpret_cast<const std::byte*>(codes), DType::kF8E4M3, 3, decoded.data());
  EXPECT_EQ(decoded, (std::vector<float>{1.0f, -1.0f, 0.0f}));
  to_float(reinterpret_cast<const std::byte*>(codes), DType::kF8E5M2, 3, decoded.data());
  EXPECT_EQ(decoded, (std::vector<float>{0.5f, -0.5f, 0.0f}));
  EXPECT_EQ(load_as_float(reinterpret_cast<const std::byte*>(codes), DType::kF8E5M2, 1), -0.5f);
}

}  // namespace
}  // namespace pinion
