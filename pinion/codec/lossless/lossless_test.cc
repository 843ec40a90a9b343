// Mode 1 as a stream: what prediction saves, what it needs, and that threads change nothing.

#include <gtest/gtest.h>

#include <cstring>

#include "pinion/codec/codec.h"
#include "pinion/codec/codec_testing.h"
#include "pinion/codec/lossless/element_bits.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::same_tensor;

constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kF8E5M2};

TEST(ElementBits, EveryPairOfBytesAndManyOfWordsComeBack) {
  for (const DType dtype : kTypes) {
    const std::size_t count = 65536, width = size_bytes(dtype);
    Tensor now = testing::random_bits(dtype, {static_cast<std::int64_t>(count)}, 1);
    Tensor before = testing::random_bits(dtype, {static_cast<std::int64_t>(count)}, 2);
    for (std::size_t i = 0; i < count && width == 1; ++i) {
      now.mutable_data()[i] = static_cast<std::byte>(i & 0xff);
      before.mutable_data()[i] = static_cast<std::byte>(i >> 8);
    }
    std::vector<std::uint8_t> bytes(4 * count), contexts(count);
    std::uint8_t* planes[4];
    for (std::size_t p = 0; p < 4; ++p) planes[p] = bytes.data() + p * count;
    Tensor back = Tensor::empty(dtype, now.shape());
    for (const std::byte* previous : {static_cast<const std::byte*>(nullptr), before.view().data}) {
      split_elements(now.view().data, previous, dtype, count, planes);
      if (previous == nullptr) {
        context_bytes(now.view().data, dtype, count, contexts.data());
        EXPECT_EQ(std::memcmp(contexts.data(), planes[0], count), 0) << name(dtype);
      }
      join_elements(planes, previous, dtype, count, back.mutable_data());
      EXPECT_TRUE(same_tensor(back, now)) << name(dtype);
    }
  }
}

TEST(ElementBits, NeighboursInValueDifferByLittle) {
  // The next float up and down, across zero too, are the numbers 2 and 1.
  const std::uint16_t before[] = {0x3f80, 0xbf80, 0x0000, 0x8000};
  const std::uint16_t now[] = {0x3f81, 0xbf81, 0x8000, 0x0000};
  std::uint8_t high[4], low[4];
  std::uint8_t* planes[] = {high, low};
  split_elements(reinterpret_cast<const std::byte*>(now), reinterpret_cast<const std::byte*>(before),
                 DType::kBF16, 4, planes);
  const std::uint8_t expected[] = {2, 1, 1, 2};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(high[i], 0);
    EXPECT_EQ(low[i], expected[i]);
  }
}

TEST(LosslessStream, PredictsWhereThatIsSmaller) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const auto steps =
        testing::low_rank_sequence(dtype, 3, {.rows = 128, .channels = 96, .noise = 0, .kept = 0.995});
    const auto encoder = testing::encoder_of({.mode = Mode::kLossless});
    const auto decoder = Decoder::create();
    std::size_t key_bytes = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const EncodedFrame encoded = encoder->encode(steps[i]).value();
      EXPECT_EQ(encoded.stats.key_frame, i == 0);
      EXPECT_EQ(inspect(encoded.frame, kGenerous)->key_frame, i == 0);
      if (i == 0) key_bytes = encoded.frame.size();
      EXPECT_LE(encoded.frame.size(), key_bytes);
      const auto decoded = decoder->decode(encoded.frame, kGenerous);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      EXPECT_TRUE(same_tensor(steps[i], *decoded));
    }
    // The same tensor again costs next to nothing, one that has nothing to do with it a key frame.
    EXPECT_LT(encoder->encode(steps.back())->frame.size(), 100u);
    EXPECT_TRUE(encoder->encode(testing::low_rank(dtype, {.rows = 128, .channels = 96, .seed = 77}))
                    ->stats.key_frame);
  }
}

TEST(LosslessStream, ALostFrameIsNoticedUntilARestart) {
  const auto steps = testing::low_rank_sequence(DType::kBF16, 5, {.rows = 64, .channels = 64, .kept = 0.99});
  const auto encoder = testing::encoder_of({.mode = Mode::kLossless});
  const auto decoder = Decoder::create();
  ASSERT_TRUE(decoder->decode(encoder->encode(steps[0])->frame, kGenerous).ok());
  const Bytes lost = encoder->encode(steps[1])->frame, after = encoder->encode(steps[2])->frame;
  const auto refused = decoder->decode(after, kGenerous);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotFound);
  EXPECT_TRUE(same_tensor(decoder->decode(lost, kGenerous).value(), steps[1]));
  EXPECT_TRUE(same_tensor(decoder->decode(after, kGenerous).value(), steps[2]));
  EXPECT_FALSE(decoder->decode(after, kGenerous).ok()) << "a frame was taken twice";
  encoder->restart();
  const EncodedFrame key = encoder->encode(steps[3]).value(), next = encoder->encode(steps[4]).value();
  EXPECT_TRUE(key.stats.key_frame);
  const auto fresh = Decoder::create();
  EXPECT_TRUE(same_tensor(fresh->decode(key.frame, kGenerous).value(), steps[3]));
  EXPECT_TRUE(same_tensor(fresh->decode(next.frame, kGenerous).value(), steps[4]));
}

TEST(LosslessStream, ShapesTypesAndEmptyTensorsMayComeBetween) {
  const auto steps = testing::low_rank_sequence(DType::kBF16, 3, {.rows = 64, .channels = 64, .kept = 0.99});
  const auto encoder = testing::encoder_of({.mode = Mode::kLossless});
  const auto decoder = Decoder::create();
  const std::vector<Tensor> all = {steps[0],
                                   Tensor::empty(DType::kBF16, {0, 64}),
                                   steps[1],
                                   testing::random_bits(DType::kBF16, {64, 64}, 3),  // goes raw
                                   steps[2],
                                   testing::low_rank(DType::kF16, {.rows = 64, .channels = 64}),
                                   testing::low_rank(DType::kF16, {.rows = 32, .channels = 128})};
  std::vector<bool> keys;
  for (const Tensor& tensor : all) {
    const EncodedFrame encoded = encoder->encode(tensor).value();
    keys.push_back(encoded.stats.key_frame);
    const auto decoded = decoder->decode(encoded.frame, kGenerous);
    ASSERT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_TRUE(same_tensor(tensor, *decoded));
  }
  EXPECT_EQ(keys, (std::vector<bool>{true, true, false, true, true, true, true}));
}

TEST(Threads, ChangeNothingInTheFrames) {
  const auto steps =
      testing::low_rank_sequence(DType::kBF16, 3, {.rows = 700, .channels = 259, .kept = 0.99});
  for (const char* text : {"lossless", "bounded:.05", "bounded:rel:.01", "int8", "int4"}) {
    const Profile profile = parse_profile(text).value();
    const auto alone = testing::encoder_of(profile);
    const auto decoder = Decoder::create();
    std::vector<Bytes> frames;
    std::vector<Tensor> tensors;
    for (const Tensor& tensor : steps) {
      frames.push_back(alone->encode(tensor)->frame);
      tensors.push_back(decoder->decode(frames.back(), kGenerous).value());
    }
    for (const int threads : {2, 5}) {
      const auto encoder = Encoder::create(profile, {.threads = threads}).value();
      const auto shared = Decoder::create(threads);
      for (std::size_t i = 0; i < steps.size(); ++i) {
        EXPECT_EQ(encoder->encode(steps[i])->frame, frames[i]) << text << ", " << threads << " threads";
        const auto decoded = shared->decode(frames[i], kGenerous);
        ASSERT_TRUE(decoded.ok());
        EXPECT_TRUE(same_tensor(*decoded, tensors[i]));
      }
    }
  }
}

}  // namespace
}  // namespace pinion::codec
