// Modes raw and lossless: every bit comes back, for every element type and shape, and nothing grows.

#include <gtest/gtest.h>

#include <cstring>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

using testing::decode_next;
using testing::encoder_of;
using testing::filled;
using testing::kGenerous;
using testing::random_bits;
using testing::same_tensor;

constexpr DType kAllTypes[] = {DType::kF32,    DType::kF16, DType::kBF16, DType::kF8E4M3,
                               DType::kF8E5M2, DType::kF64, DType::kI64,  DType::kI32,
                               DType::kI16,    DType::kI8,  DType::kU8,   DType::kBool};
constexpr DType kLosslessTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{},
                                         {0},
                                         {1},
                                         {7},
                                         {0, 5},
                                         {5, 0},
                                         {1, 1},
                                         {1, 16384},
                                         {17, 1},
                                         {33, 127},
                                         {1, 257, 1},
                                         {2, 3, 5},
                                         {3, 1, 7, 11},
                                         {2, 0, 4, 8},
                                         {65537, 1},
                                         {5, 16384},
                                         {2, 1, 2, 1, 2, 1, 2, 3}};
  return all;
}

std::size_t varint_bytes(std::uint64_t value) {
  std::size_t bytes = 1;
  while (value >>= 7) ++bytes;
  return bytes;
}

// docs/format.md §2 without basis and previous frame, around a body as large as the tensor.
std::size_t raw_frame_bytes(const TensorView& tensor) {
  std::size_t bytes = 9 + varint_bytes(tensor.bytes()) + tensor.bytes() + 4;
  for (const std::int64_t extent : tensor.shape.extents())
    bytes += varint_bytes(static_cast<std::uint64_t>(extent));
  return bytes;
}

// Encodes twice, decodes, compares all bits; returns the frame.
Bytes expect_exact(Mode mode, const TensorView& tensor) {
  auto encoded = encoder_of({.mode = mode})->encode(tensor);
  EXPECT_TRUE(encoded.ok());
  const auto again = encoder_of({.mode = mode})->encode(tensor);
  EXPECT_EQ(encoded->frame, again->frame) << "not deterministic";
  const auto decoder = Decoder::create();
  const auto decoded = decode_next(*decoder, *encoded);
  if (!decoded.ok()) {
    ADD_FAILURE() << decoded.error().message();
    return {};
  }
  EXPECT_TRUE(same_tensor(tensor, *decoded));
  EXPECT_TRUE(encoded->basis.empty());
  EXPECT_LE(encoded->frame.size(), raw_frame_bytes(tensor));

  const FrameStats& stats = encoded->stats;
  EXPECT_EQ(stats.frame_bytes, encoded->frame.size());
  EXPECT_EQ(stats.tensor_bytes, tensor.bytes());
  EXPECT_EQ(stats.elements, tensor.elements());
  EXPECT_TRUE(std::isinf(stats.snr_db) && stats.snr_db > 0);
  EXPECT_EQ(stats.cosine, 1);
  EXPECT_EQ(stats.max_error, 0);
  EXPECT_TRUE(stats.key_frame);

  const auto info = inspect(encoded->frame, kGenerous);
  EXPECT_TRUE(info.ok());
  EXPECT_EQ(info->dtype, tensor.dtype);
  EXPECT_EQ(info->shape, tensor.shape);
  EXPECT_EQ(info->frame_bytes, encoded->frame.size());
  EXPECT_TRUE(info->key_frame);
  EXPECT_EQ(info->basis_hash, "");
  EXPECT_EQ(info->step_size, 0);
  return encoded->frame;
}

Mode mode_of(const Bytes& frame) { return inspect(frame, kGenerous).value().mode; }

TEST(RoundTrip, RawKeepsEveryTypeAndShape) {
  for (const DType dtype : kAllTypes) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      const Tensor tensor = random_bits(dtype, shape, 11);
      const Bytes frame = expect_exact(Mode::kRaw, tensor);
      EXPECT_EQ(frame.size(), raw_frame_bytes(tensor));
      EXPECT_EQ(mode_of(frame), Mode::kRaw);
    }
  }
}

TEST(RoundTrip, LosslessKeepsEveryTypeAndShapeAndNeverGrows) {
  for (const DType dtype : kAllTypes) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      expect_exact(Mode::kLossless, random_bits(dtype, shape, 12));
      expect_exact(Mode::kLossless, filled(dtype, shape, std::byte{1}));
    }
  }
}

TEST(RoundTrip, LosslessKeepsValuesOfOrdinarySize) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const Shape& shape : shapes()) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      testing::Dice dice(13);
      std::vector<float> values(static_cast<std::size_t>(shape.elements()));
      for (float& value : values) value = static_cast<float>(dice.normal());
      const Tensor tensor = testing::tensor_of(dtype, shape, values);
      const Bytes frame = expect_exact(Mode::kLossless, tensor);
      if (tensor.elements() >= 65536) {
        EXPECT_EQ(mode_of(frame), Mode::kLossless);
        EXPECT_LT(frame.size(), tensor.bytes() * 95 / 100);
      }
    }
  }
}

TEST(RoundTrip, ChannelsOfDifferentSizeAreWorthTheirOwnTables) {
  testing::Dice dice(14);
  std::vector<float> values(256 * 64);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(std::ldexp(dice.normal(), static_cast<int>(i % 64 % 4) * 8 - 12));
  const Tensor tensor = testing::tensor_of(DType::kBF16, {256, 64}, values);
  const Bytes frame = expect_exact(Mode::kLossless, tensor);
  EXPECT_LT(frame.size(), tensor.bytes() * 10 / 14);
}

TEST(RoundTrip, AllPatternsOfTheSixteenBitTypes) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    for (const Shape& shape : {Shape{65536}, Shape{256, 256}, Shape{65536, 1}}) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      Tensor tensor = Tensor::empty(dtype, shape);
      for (std::size_t i = 0; i < 65536; ++i) {
        const auto pattern = static_cast<std::uint16_t>(i);
        std::memcpy(tensor.mutable_data() + 2 * i, &pattern, sizeof(pattern));
      }
      expect_exact(Mode::kLossless, tensor);
      expect_exact(Mode::kRaw, tensor);
    }
  }
}

TEST(RoundTrip, AllPatternsOfTheEightBitTypes) {
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    Tensor tensor = Tensor::empty(dtype, {40, 256});
    for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.mutable_data()[i] = std::byte(i & 0xff);
    expect_exact(Mode::kLossless, tensor);
  }
}

TEST(RoundTrip, FloatsThatAreNotOrdinaryNumbers) {
  const std::uint32_t patterns[] = {0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000,
                                    0x7f800000, 0xff800000, 0x7f800001, 0x7fc00000, 0xffc12345, 0x7fffffff,
                                    0xffffffff, 0x7f7fffff, 0x3f800000, 0xbf800000};
  Tensor tensor = Tensor::empty(DType::kF32, {64, 48});
  for (std::size_t i = 0; i < 64 * 48; ++i) {
    std::memcpy(tensor.mutable_data() + 4 * i, &patterns[i * 7 % std::size(patterns)], 4);
  }
  const Bytes frame = expect_exact(Mode::kLossless, tensor);
  EXPECT_EQ(mode_of(frame), Mode::kLossless);
}

TEST(RoundTrip, ConstantTensorsCostAlmostNothing) {
  for (const DType dtype : kLosslessTypes) {
    for (const std::byte value : {std::byte{0}, std::byte{0x3c}}) {
      const Tensor tensor = filled(dtype, {512, 2048}, value);
      EXPECT_LT(expect_exact(Mode::kLossless, tensor).size(), 64u) << name(dtype);
    }
  }
}

TEST(RoundTrip, OneOutlierAmongZeros) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<float> values(300 * 70);
    values[12345] = 60000;
    const Tensor tensor = testing::tensor_of(dtype, {300, 70}, values);
    EXPECT_LT(expect_exact(Mode::kLossless, tensor).size(), tensor.bytes() / 10) << name(dtype);
  }
}

TEST(RoundTrip, TypesWithoutLosslessFormGoRaw) {
  const Tensor tensor = filled(DType::kI32, {64, 64}, std::byte{0});
  EXPECT_EQ(mode_of(expect_exact(Mode::kLossless, tensor)), Mode::kRaw);
}

TEST(RoundTrip, LimitsOfTheReceiverHold) {
  const Tensor tensor = filled(DType::kBF16, {512, 2048}, std::byte{0});
  for (const Mode mode : {Mode::kRaw, Mode::kLossless}) {
    const Bytes frame = expect_exact(mode, tensor);
    const auto try_limits = [&frame](const DecodeLimits& limits) {
      const auto decoded = Decoder::create()->decode(frame, limits);
      const auto info = inspect(frame, limits);
      EXPECT_EQ(decoded.ok(), info.ok());
      return decoded.ok() ? "fits" : name(decoded.error().code);
    };
    EXPECT_EQ(try_limits({.max_tensor_bytes = 512 * 2048 * 2}), "fits");
    EXPECT_EQ(try_limits({.max_tensor_bytes = 512 * 2048 * 2 - 1}), "too_large");
    EXPECT_EQ(try_limits({.max_tensor_bytes = 512 * 2048 * 2, .max_channels = 2048}), "fits");
    EXPECT_EQ(try_limits({.max_tensor_bytes = 512 * 2048 * 2, .max_channels = 2047}), "too_large");
  }
}

}  // namespace
}  // namespace pinion::codec
