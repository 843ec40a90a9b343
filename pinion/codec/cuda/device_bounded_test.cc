// Mode 3 on a device: frames of the CPU decode to the same bits, whatever their steps, escapes and lanes.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "pinion/codec/bounded/bounded_testing.h"
#include "pinion/codec/cuda/device_testing.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::device_decoder;
using testing::encode_there;
using testing::kGenerous;
using testing::same_tensor;
using testing::wild;

const std::vector<Shape> kShapes = {{},      {1},       {7},        {1, 1},    {1, 4097},
                                    {17, 1}, {33, 65},  {2, 3, 5},  {300, 70}, {3, 16384},
                                    {0, 64}, {513, 96}, {2001, 35}, {64, 512}, {100000, 1}};

constexpr std::array kProfiles = {"bounded:100000", "bounded:.5",      "bounded:.003",    "bounded:1e-30",
                                  "bounded:rel:.3", "bounded:rel:.01", "bounded:rel:1e-5"};

TEST(DeviceBounded, FramesOfTheCpuDecodeToTheSameBits) {
  PINION_SKIP_WITHOUT_DEVICE();
  std::uint32_t seed = 1;
  std::size_t bounded = 0, predicted = 0;
  for (const char* text : kProfiles) {
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const auto there = device_decoder();
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(text) + " " + std::string(name(dtype)) + " " + to_string(shape));
        const auto encoder = testing::encoder_of(parse_profile(text).value());
        const auto here = Decoder::create();
        ++seed;
        for (int step = 0; step < 3; ++step) {
          const Tensor tensor = wild(dtype, shape, seed, step == 1);
          const EncodedFrame encoded = encoder->encode(tensor).value();
          const Tensor expected = here->decode(encoded.frame, kGenerous).value();
          const auto decoded = decode_there(*there, encoded.frame, tensor.bytes());
          ASSERT_TRUE(decoded.ok()) << decoded.error().message();
          ASSERT_TRUE(same_tensor(*decoded, expected));
          bounded += inspect(encoded.frame, kGenerous)->mode == Mode::kBounded;
          predicted += !encoded.stats.key_frame;
        }
      }
    }
  }
  EXPECT_GT(bounded, 200u);
  EXPECT_GT(predicted, 10u);
}

// The largest error in units of its bound; what is not finite has to be the same bits.
double worst_error(const Profile& profile, const Tensor& tensor, const Tensor& decoded) {
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape()));
  std::vector<double> squares(channels), counts(channels);
  const auto at = [](const Tensor& of, std::int64_t i) {
    return load_as_float(of.view().data, of.dtype(), i);
  };
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const double value = at(tensor, i);
    if (!std::isfinite(value)) continue;
    squares[static_cast<std::size_t>(i) % channels] += value * value;
    ++counts[static_cast<std::size_t>(i) % channels];
  }
  const std::size_t width = size_bytes(tensor.dtype());
  double worst = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const std::size_t c = static_cast<std::size_t>(i) % channels, place = static_cast<std::size_t>(i) * width;
    const double x = at(tensor, i), y = at(decoded, i);
    if (std::memcmp(tensor.view().data + place, decoded.view().data + place, width) == 0) continue;
    const double bound =
        profile.error_bound * (profile.bound_is_relative ? std::sqrt(squares[c] / counts[c]) : 1.0);
    worst = std::isfinite(x) ? std::max(worst, std::abs(x - y) / bound) : 1e9;
  }
  return worst;
}

std::unique_ptr<DeviceEncoder> bounded_encoder(const Profile& profile) {
  return DeviceEncoder::create(
             Mode::kBounded, testing::kDeviceLimits,
             {.error_bound = profile.error_bound, .bound_is_relative = profile.bound_is_relative})
      .value();
}

TEST(DeviceBounded, NoElementIsOffByMoreThanTheBound) {
  PINION_SKIP_WITHOUT_DEVICE();
  std::uint32_t seed = 1000;
  std::size_t bounded = 0, predicted = 0;
  for (const char* text : kProfiles) {
    const Profile profile = parse_profile(text).value();
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      const auto encoder = bounded_encoder(profile), again = bounded_encoder(profile);
      const auto decoder = device_decoder();
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(text) + " " + std::string(name(dtype)) + " " + to_string(shape));
        const auto of_cpu = testing::encoder_of(profile);
        const auto here = Decoder::create();
        encoder->restart();
        again->restart();
        ++seed;
        std::size_t bytes = 0, bytes_of_cpu = 0;
        for (int step = 0; step < 3; ++step) {
          const Tensor tensor = wild(dtype, shape, seed, step == 1);
          const auto frame = encode_there(*encoder, tensor);
          ASSERT_TRUE(frame.ok()) << frame.error().message();
          ASSERT_EQ(*frame, encode_there(*again, tensor).value()) << "not the same bytes twice";
          const auto decoded = here->decode(*frame, kGenerous);
          ASSERT_TRUE(decoded.ok()) << decoded.error().message();
          const auto there = decode_there(*decoder, *frame, tensor.bytes());
          ASSERT_TRUE(there.ok()) << there.error().message();
          ASSERT_TRUE(same_tensor(*there, *decoded));
          ASSERT_LE(worst_error(profile, tensor, *decoded), 1 + 1e-9);  // squares are summed in another order
          const FrameInfo info = inspect(*frame, kGenerous).value();
          bounded += info.mode == Mode::kBounded;
          predicted += !info.key_frame;
          bytes += frame->size();
          bytes_of_cpu += of_cpu->encode(tensor)->frame.size();
        }
        if (shape.elements() > 50000) {
          EXPECT_LE(bytes, bytes_of_cpu * 107 / 100 + 3000);  // the CPU tries lossless sooner
        }
      }
    }
  }
  EXPECT_GT(bounded, 200u);
  EXPECT_GT(predicted, 3u);
}

TEST(DeviceBounded, PredictsAndRestarts) {
  PINION_SKIP_WITHOUT_DEVICE();
  const auto steps = testing::low_rank_sequence(DType::kBF16, 4, {.rows = 256, .channels = 64, .kept = 0.99});
  for (const char* text : {"bounded:.05", "bounded:rel:.001"}) {
    const auto encoder = bounded_encoder(parse_profile(text).value());
    const auto decoder = device_decoder();
    const std::size_t bytes = steps[0].bytes();
    const Bytes first = encode_there(*encoder, steps[0]).value(),
                second = encode_there(*encoder, steps[1]).value(),
                third = encode_there(*encoder, steps[2]).value();
    EXPECT_TRUE(inspect(first, kGenerous)->key_frame);
    EXPECT_FALSE(inspect(second, kGenerous)->key_frame) << text;
    EXPECT_LT(second.size(), first.size() * 19 / 20) << text;
    ASSERT_TRUE(decode_there(*decoder, first, bytes).ok());
    EXPECT_EQ(decode_there(*decoder, third, bytes).error().code, Errc::kNotFound);
    EXPECT_TRUE(decode_there(*decoder, second, bytes).ok());
    EXPECT_TRUE(decode_there(*decoder, third, bytes).ok());
    encoder->restart();
    EXPECT_TRUE(inspect(encode_there(*encoder, steps[3]).value(), kGenerous)->key_frame);
  }
}

TEST(DeviceBounded, TensorsMayLieAnywhere) {
  PINION_SKIP_WITHOUT_DEVICE();
  const Tensor tensor = wild(DType::kBF16, {200, 96}, 5, true);
  const Profile profile = parse_profile("bounded:rel:.01").value();
  const Bytes expected = encode_there(*bounded_encoder(profile), tensor).value();
  const testing::Room room(tensor.bytes() + 16);
  for (std::size_t at = 0; at < 16; at += 2) {
    TensorView view = tensor.view();
    ASSERT_EQ(cudaMemcpy(room.span().data() + at, view.data, tensor.bytes(), cudaMemcpyHostToDevice),
              cudaSuccess);
    view.data = room.span().data() + at;
    view.device = {Device::Kind::kCuda, 0};
    const auto encoder = bounded_encoder(profile);
    ASSERT_TRUE(encoder->encode(view, nullptr).ok());
    const ByteSpan frame = encoder->copy_to_host(nullptr).value();
    EXPECT_TRUE(std::ranges::equal(frame, expected)) << at;
  }
}

TEST(DeviceBounded, RefusesImpossibleBounds) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const double bound :
       {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const auto refused =
        DeviceEncoder::create(Mode::kBounded, testing::kDeviceLimits, {.error_bound = bound});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  }
}

}  // namespace
}  // namespace pinion::codec
