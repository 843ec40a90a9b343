// Mode 3: no finite element is off by more than the bound, whatever the tensor.

#include <gtest/gtest.h>

#include "pinion/codec/bounded/bounded_testing.h"
#include "pinion/codec/codec.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::wild;

const std::vector<Shape> kShapes = {{},      {1},      {7},       {1, 1},    {1, 4097},
                                    {17, 1}, {33, 65}, {2, 3, 5}, {300, 70}, {3, 16384}};

std::vector<double> bounds_of(const Profile& profile, const Tensor& tensor) {
  const std::size_t rank = tensor.shape().rank();
  const std::size_t channels = rank == 0 ? 1 : static_cast<std::size_t>(tensor.shape()[rank - 1]);
  std::vector<double> squares(channels), counts(channels);
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const double value = load_as_float(tensor.view().data, tensor.dtype(), i);
    if (!std::isfinite(value)) continue;
    squares[static_cast<std::size_t>(i) % channels] += value * value;
    ++counts[static_cast<std::size_t>(i) % channels];
  }
  std::vector<double> bounds(channels, profile.error_bound);
  for (std::size_t c = 0; c < channels && profile.bound_is_relative; ++c)
    bounds[c] = counts[c] == 0 ? 0 : profile.error_bound * std::sqrt(squares[c] / counts[c]);
  return bounds;
}

// Returns the largest error in units of its bound.
double worst_error(const Profile& profile, const Tensor& tensor, const Tensor& decoded) {
  const std::vector<double> bounds = bounds_of(profile, tensor);
  const std::size_t width = size_bytes(tensor.dtype());
  double worst = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const double x = load_as_float(tensor.view().data, tensor.dtype(), i);
    const double y = load_as_float(decoded.view().data, decoded.dtype(), i);
    if (!std::isfinite(x)) {
      const auto at = static_cast<std::size_t>(i) * width;
      EXPECT_EQ(std::memcmp(tensor.view().data + at, decoded.view().data + at, width), 0) << i;
    } else if (x != y) {
      worst = std::max(worst, std::abs(x - y) / bounds[static_cast<std::size_t>(i) % bounds.size()]);
    }
  }
  return worst;
}

TEST(Bounded, NoElementIsOffByMoreThanTheBound) {
  std::uint32_t seed = 1;
  std::size_t bounded_frames = 0, predicted = 0;
  for (const char* text : {"bounded:100000", "bounded:.5", "bounded:.003", "bounded:1e-30", "bounded:rel:.3",
                           "bounded:rel:.01", "bounded:rel:1e-5"}) {
    const Profile profile = parse_profile(text).value();
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const Shape& shape : kShapes) {
        SCOPED_TRACE(std::string(text) + " " + std::string(name(dtype)) + " " + to_string(shape));
        const auto encoder = testing::encoder_of(profile), again = testing::encoder_of(profile);
        const auto decoder = Decoder::create();
        ++seed;
        for (int step = 0; step < 3; ++step) {
          const Tensor tensor = wild(dtype, shape, seed, step == 1);
          const auto encoded = encoder->encode(tensor);
          ASSERT_TRUE(encoded.ok()) << encoded.error().message();
          ASSERT_EQ(encoded->frame, again->encode(tensor)->frame);
          const auto decoded = decoder->decode(encoded->frame, kGenerous);
          ASSERT_TRUE(decoded.ok()) << decoded.error().message();
          ASSERT_EQ(decoded->shape(), shape);
          // The mean square is summed in another order here.
          ASSERT_LE(worst_error(profile, tensor, *decoded), 1 + 1e-12);
          EXPECT_LE(encoded->frame.size(), tensor.bytes() + 64);
          bounded_frames += inspect(encoded->frame, kGenerous)->mode == Mode::kBounded;
          predicted += !encoded->stats.key_frame;
        }
      }
    }
  }
  EXPECT_GT(bounded_frames, 200u);
  EXPECT_GT(predicted, 10u);
}

TEST(Bounded, TheBoundIsUsed) {
  // A coder that kept everything exactly would meet every bound too.
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Profile profile = parse_profile("bounded:.125").value();
    const Tensor tensor = testing::low_rank(dtype, {.rows = 128, .channels = 96});
    const auto encoded = testing::encoder_of(profile)->encode(tensor);
    const auto decoded = Decoder::create()->decode(encoded->frame, kGenerous);
    EXPECT_GT(worst_error(profile, tensor, *decoded), 0.9);
    EXPECT_LT(encoded->frame.size(), static_cast<std::size_t>(tensor.elements()) * 11 / 16);
    EXPECT_NEAR(encoded->stats.max_error, 0.125, 0.01);
    const testing::Fidelity measured = testing::measure_again(tensor, *decoded);
    EXPECT_NEAR(encoded->stats.snr_db, measured.snr_db, 1e-3);
    EXPECT_NEAR(encoded->stats.cosine, measured.cosine, 1e-6);
    EXPECT_DOUBLE_EQ(encoded->stats.max_error, measured.max_error);
  }
}

TEST(Bounded, PredictsAndRestarts) {
  const auto steps = testing::low_rank_sequence(DType::kBF16, 4, {.rows = 64, .channels = 64, .kept = 0.99});
  const auto encoder = testing::encoder_of(parse_profile("bounded:.05").value());
  const auto decoder = Decoder::create();
  const EncodedFrame first = encoder->encode(steps[0]).value(), second = encoder->encode(steps[1]).value(),
                     third = encoder->encode(steps[2]).value();
  EXPECT_TRUE(first.stats.key_frame);
  EXPECT_FALSE(second.stats.key_frame);
  EXPECT_LT(second.frame.size(), first.frame.size() * 9 / 10);
  ASSERT_TRUE(decoder->decode(first.frame, kGenerous).ok());
  const auto lost = decoder->decode(third.frame, kGenerous);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code, Errc::kNotFound);
  EXPECT_TRUE(decoder->decode(second.frame, kGenerous).ok());
  EXPECT_TRUE(decoder->decode(third.frame, kGenerous).ok());
  encoder->restart();
  const EncodedFrame key = encoder->encode(steps[3]).value();
  EXPECT_TRUE(key.stats.key_frame);
  EXPECT_TRUE(Decoder::create()->decode(key.frame, kGenerous).ok());
}

TEST(Bounded, ProfilesInTextForm) {
  EXPECT_EQ(to_string(parse_profile("bounded:.5").value()), "bounded:0.5");
  EXPECT_EQ(to_string(parse_profile("bounded:rel:1e-3").value()), "bounded:rel:0.001");
  for (const char* text : {"bounded", "bounded:", "bounded:0", "bounded:-1", "bounded:nan", "bounded:inf",
                           "bounded:rel", "bounded:rel:", "bounded:rel:x", "bounded:abs:1"}) {
    EXPECT_FALSE(parse_profile(text).ok()) << text;
  }
  EXPECT_FALSE(Encoder::create({.mode = Mode::kBounded}).ok());
}

}  // namespace
}  // namespace pinion::codec
