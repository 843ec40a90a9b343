// The codec on a device against the one of the CPU: exact, the same frames where it says so, and frames of
// one that the other decodes.

#include "pinion/codec/cuda/device_codec.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "pinion/codec/cuda/device_testing.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::device_decoder;
using testing::device_encoder;
using testing::encode_there;
using testing::kGenerous;
using testing::same_tensor;

constexpr DType kExactTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2};
constexpr DType kGroupTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

const std::vector<Shape> kShapes = {{},         {1},        {5},         {31},      {32},
                                    {1, 1},     {7, 1},     {0, 64},     {3, 0},    {8, 33},
                                    {3, 5, 37}, {64, 64},   {1, 4096},   {17, 96},  {3, 16384},
                                    {2001, 35}, {700, 259}, {513, 1024}, {40000, 1}};

// Values whose channels differ in size, with what is special among them if `special`.
Tensor made(DType dtype, const Shape& shape, std::uint32_t seed, bool special) {
  testing::Dice dice(seed);
  const auto count = static_cast<std::size_t>(shape.elements());
  const std::size_t channels = shape.rank() == 0 ? 1 : static_cast<std::size_t>(shape[shape.rank() - 1]);
  std::vector<float> sizes(channels), values(count);
  for (float& size : sizes) size = static_cast<float>(std::exp(dice.normal()));
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(dice.normal()) * sizes[i % channels];
  Tensor tensor;
  if (size_bytes(dtype) == 1) {
    tensor = Tensor::empty(dtype, shape);
    for (std::size_t i = 0; i < count; ++i)
      tensor.mutable_data()[i] = static_cast<std::byte>(static_cast<int>(values[i] * 4) & 0x3f);
  } else {
    tensor = testing::tensor_of(dtype, shape, values);
  }
  if (!special) return tensor;
  // NaN payloads, infinities, -0 and subnormals: a hundred elements of random bits and of few bits.
  const std::size_t width = size_bytes(dtype);
  for (std::size_t i = 0; i < std::min<std::size_t>(count / 2, 100); ++i) {
    std::byte* const at = tensor.mutable_data() + dice.bits() % count * width;
    std::uint32_t bits = dice.bits();
    if (i % 4 == 1) bits |= 0x7f807f80;
    if (i % 4 == 2) bits = 0x80808080 & bits;
    if (i % 4 == 3) bits &= 0x00070007;
    std::memcpy(at, &bits, width);
  }
  return tensor;
}

TEST(DeviceGroups, FramesAreThoseOfTheCpuAndDecodeToTheSameBits) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Mode mode : {Mode::kInt8, Mode::kInt4}) {
    const auto encoder = device_encoder(mode);
    const auto decoder = device_decoder();
    for (const DType dtype : kGroupTypes) {
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(name(mode)) + " " + std::string(name(dtype)) + " " + to_string(shape));
        const Tensor tensor = made(dtype, shape, 11, false);
        const Bytes expected = testing::encoder_of({.mode = mode})->encode(tensor)->frame;
        const auto frame = encode_there(*encoder, tensor);
        ASSERT_TRUE(frame.ok()) << frame.error().message();
        if (inspect(expected, kGenerous)->mode == mode || tensor.elements() == 0) {
          ASSERT_TRUE(*frame == expected);
        } else {  // more scales than they are worth: the tensor as it is
          EXPECT_TRUE(same_tensor(Decoder::create()->decode(*frame, kGenerous).value(), tensor));
        }
        const Tensor there = decode_there(*decoder, expected, tensor.bytes()).value();
        EXPECT_TRUE(same_tensor(there, Decoder::create()->decode(expected, kGenerous).value()));
      }
    }
  }
}

TEST(DeviceGroups, ExtremeValuesAreThoseOfTheCpu) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Mode mode : {Mode::kInt8, Mode::kInt4}) {
    const auto encoder = device_encoder(mode);
    const auto decoder = device_decoder();
    for (const DType dtype : kGroupTypes) {
      for (const std::int64_t channels : {96, 35}) {
        testing::Dice dice(7);
        std::vector<float> values(static_cast<std::size_t>(64 * channels));
        for (std::size_t i = 0; i < values.size(); ++i)
          values[i] = static_cast<float>(std::ldexp(dice.normal(), static_cast<int>(i / 32 % 270) - 150));
        for (float& value : values) value = std::clamp(value, -60000.0f, 60000.0f);
        const Tensor tensor = testing::tensor_of(dtype, {64, channels}, values);
        const Bytes expected = testing::encoder_of({.mode = mode})->encode(tensor)->frame;
        ASSERT_TRUE(encode_there(*encoder, tensor).value() == expected) << name(mode) << " " << name(dtype);
        EXPECT_TRUE(same_tensor(decode_there(*decoder, expected, tensor.bytes()).value(),
                                Decoder::create()->decode(expected, kGenerous).value()));
      }
    }
  }
}

TEST(DeviceGroups, RefuseWhatIsNotFinite) {
  PINION_SKIP_WITHOUT_DEVICE();
  const auto encoder = device_encoder(Mode::kInt8);
  for (const std::int64_t channels : {64, 33}) {
    Tensor tensor = made(DType::kBF16, {9, channels}, 1, false);
    const std::uint16_t nan = 0x7fc1;
    std::memcpy(tensor.mutable_data() + 2 * 77, &nan, 2);
    const auto refused = encode_there(*encoder, tensor);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
    EXPECT_TRUE(encode_there(*encoder, made(DType::kBF16, {9, channels}, 1, false)).ok());
  }
}

TEST(DeviceLossless, EveryShapeAndTypeIsExactOnEitherSide) {
  PINION_SKIP_WITHOUT_DEVICE();
  const auto encoder = device_encoder(Mode::kLossless);
  const auto decoder = device_decoder();
  for (const DType dtype : kExactTypes) {
    for (const Shape& shape : kShapes) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + to_string(shape));
      const Tensor tensor = made(dtype, shape, 3, true);
      encoder->restart();
      const auto frame = encode_there(*encoder, tensor);
      ASSERT_TRUE(frame.ok()) << frame.error().message();
      EXPECT_LE(frame->size(), tensor.bytes() + 40);
      const auto here = Decoder::create()->decode(*frame, kGenerous);
      ASSERT_TRUE(here.ok()) << here.error().message();
      EXPECT_TRUE(same_tensor(*here, tensor));
      const auto there = decode_there(*decoder, *frame, tensor.bytes());
      ASSERT_TRUE(there.ok()) << there.error().message();
      EXPECT_TRUE(same_tensor(*there, tensor));
      // And a frame of the CPU's encoder.
      const Bytes of_cpu = testing::encoder_of({.mode = Mode::kLossless})->encode(tensor)->frame;
      const auto again = decode_there(*decoder, of_cpu, tensor.bytes());
      ASSERT_TRUE(again.ok()) << again.error().message();
      EXPECT_TRUE(same_tensor(*again, tensor));
      if (tensor.elements() > 100000) {
        EXPECT_LE(frame->size(), of_cpu.size() * 102 / 100);
      }
    }
  }
}

TEST(DeviceLossless, RandomBitsAndConstantsToo) {
  PINION_SKIP_WITHOUT_DEVICE();
  const auto encoder = device_encoder(Mode::kLossless);
  const auto decoder = device_decoder();
  for (const DType dtype : kExactTypes) {
    const Shape shape{300, 257};
    for (const Tensor& tensor :
         {testing::random_bits(dtype, shape, 4), testing::filled(dtype, shape, std::byte{0x81}),
          testing::filled(dtype, shape, std::byte{0})}) {
      const Bytes frame = encode_there(*encoder, tensor).value();
      EXPECT_TRUE(same_tensor(decode_there(*decoder, frame, tensor.bytes()).value(), tensor)) << name(dtype);
      encoder->restart();
    }
  }
}

TEST(DeviceLossless, StreamsArePredictedAndGoBothWays) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const DType dtype : kExactTypes) {
    SCOPED_TRACE(name(dtype));
    std::vector<Tensor> steps;
    if (size_bytes(dtype) == 1) {
      for (std::uint32_t i = 0; i < 4; ++i) {
        steps.push_back(made(dtype, {300, 96}, 3, true));
        for (std::size_t k = 0; k < 1000; ++k) steps.back().mutable_data()[k * 7 + i] ^= std::byte{1};
      }
    } else {
      steps = testing::low_rank_sequence(dtype, 4, {.rows = 300, .channels = 96, .noise = 0, .kept = 0.995});
    }
    const auto there = device_encoder(Mode::kLossless), again = device_encoder(Mode::kLossless);
    const auto here = testing::encoder_of({.mode = Mode::kLossless});
    const auto decoder = Decoder::create();
    const auto of_there = device_decoder(), of_here = device_decoder();
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Bytes frame = encode_there(*there, steps[i]).value();
      EXPECT_EQ(encode_there(*again, steps[i]).value(), frame) << "not the same bytes twice";
      const Bytes of_cpu = here->encode(steps[i])->frame;
      EXPECT_EQ(inspect(frame, kGenerous)->key_frame, i == 0);
      EXPECT_LE(frame.size(), of_cpu.size() * 105 / 100 + 600);
      EXPECT_TRUE(same_tensor(decoder->decode(frame, kGenerous).value(), steps[i]));
      EXPECT_TRUE(same_tensor(decode_there(*of_there, frame, steps[i].bytes()).value(), steps[i]));
      const auto decoded = decode_there(*of_here, of_cpu, steps[i].bytes());
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      EXPECT_TRUE(same_tensor(*decoded, steps[i]));
    }
  }
}

TEST(DeviceLossless, ALostFrameIsNoticedUntilARestart) {
  PINION_SKIP_WITHOUT_DEVICE();
  const auto steps = testing::low_rank_sequence(DType::kBF16, 4, {.rows = 256, .channels = 64, .kept = 0.99});
  const auto encoder = device_encoder(Mode::kLossless);
  const auto decoder = device_decoder();
  const std::size_t bytes = steps[0].bytes();
  ASSERT_TRUE(decode_there(*decoder, encode_there(*encoder, steps[0]).value(), bytes).ok());
  const Bytes lost = encode_there(*encoder, steps[1]).value(),
              after = encode_there(*encoder, steps[2]).value();
  const auto refused = decode_there(*decoder, after, bytes);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotFound);
  EXPECT_TRUE(same_tensor(decode_there(*decoder, lost, bytes).value(), steps[1]));
  EXPECT_TRUE(same_tensor(decode_there(*decoder, after, bytes).value(), steps[2]));
  encoder->restart();
  EXPECT_TRUE(
      same_tensor(decode_there(*decoder, encode_there(*encoder, steps[3]).value(), bytes).value(), steps[3]));
}

TEST(DeviceCodec, AFrameMayLieAnywhereOnTheDevice) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Mode mode : {Mode::kLossless, Mode::kInt8, Mode::kInt4}) {
    const Tensor tensor = made(DType::kBF16, {131, 96}, 5, false);
    const Bytes frame = encode_there(*device_encoder(mode), tensor).value();
    const auto decoder = device_decoder();
    const Tensor expected = Decoder::create()->decode(frame, kGenerous).value();
    for (std::size_t at = 0; at < 9; ++at) {
      const testing::Room there(at + frame.size()), out(tensor.bytes());
      ASSERT_EQ(cudaMemcpy(there.span().data() + at, frame.data(), frame.size(), cudaMemcpyHostToDevice),
                cudaSuccess);
      const auto decoded = decoder->decode(frame, out.span(), nullptr, there.span().data() + at);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      EXPECT_TRUE(same_tensor(testing::to_host(*decoded), expected)) << name(mode) << " at " << at;
    }
  }
}

TEST(DeviceCodec, SaysWhatItDoesNotTake) {
  PINION_SKIP_WITHOUT_DEVICE();
  EXPECT_EQ(DeviceEncoder::create(Mode::kFidelity, testing::kDeviceLimits).error().code, Errc::kUnsupported);
  EXPECT_EQ(DeviceEncoder::create(Mode::kInt8, testing::kDeviceLimits, {.device = 99}).error().code,
            Errc::kUnsupported);
  const auto encoder = device_encoder(Mode::kInt8);
  const Tensor here = made(DType::kBF16, {4, 4}, 1, false);
  EXPECT_EQ(encoder->encode(here, nullptr).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(encode_there(*encoder, Tensor::empty(DType::kI32, {4})).error().code, Errc::kUnsupported);
  EXPECT_EQ(encode_there(*encoder, testing::filled(DType::kF32, {5000, 1000}, std::byte{0})).error().code,
            Errc::kTooLarge);
  const Bytes raw = testing::encoder_of({})->encode(here)->frame;
  EXPECT_TRUE(same_tensor(decode_there(*device_decoder(), raw, here.bytes()).value(), here));
  EXPECT_EQ(decode_there(*device_decoder(), raw, here.bytes() - 1).error().code, Errc::kTooLarge);
}

TEST(DeviceCodec, StreamsOfSeveralThreadsDoNotMix) {
  PINION_SKIP_WITHOUT_DEVICE();
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, t] {
      cudaStream_t stream = nullptr;
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
      const Mode mode = t % 2 == 0 ? Mode::kLossless : Mode::kInt4;
      const auto encoder = device_encoder(mode);
      const auto decoder = device_decoder();
      const auto here = Decoder::create();
      const auto steps = testing::low_rank_sequence(
          DType::kBF16, 6, {.rows = 200 + 100 * t, .channels = 128, .noise = 0, .kept = 0.99, .seed = t + 1});
      for (const Tensor& step : steps) {
        const auto frame = encode_there(*encoder, step, stream);
        if (!frame.ok()) {
          ++wrong;
          continue;
        }
        const auto decoded = decode_there(*decoder, *frame, step.bytes(), stream);
        if (!decoded.ok() || !same_tensor(*decoded, here->decode(*frame, kGenerous).value())) ++wrong;
      }
      cudaStreamDestroy(stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace pinion::codec
