// Frames from outside, broken in every way: an error or a tensor of the right size, and a decoder that goes
// on. Checksums are made right again, so that the damage reaches the kernels.

#include <gtest/gtest.h>

#include <cstring>

#include "pinion/base/crc32c.h"
#include "pinion/codec/cuda/device_testing.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::device_decoder;
using testing::kGenerous;

Bytes with_checksum(Bytes frame) {
  const std::uint32_t checksum = crc32c(ByteSpan(frame).first(frame.size() - 4));
  std::memcpy(frame.data() + frame.size() - 4, &checksum, 4);
  return frame;
}

struct Sample {
  const char* name;
  Bytes first, frame;  // `frame` comes behind `first` if that is not empty
  std::size_t bytes;
};

std::vector<Sample> samples() {
  std::vector<Sample> all;
  const auto steps =
      testing::low_rank_sequence(DType::kBF16, 2, {.rows = 60, .channels = 40, .noise = 0, .kept = 0.999});
  for (const char* text : {"lossless", "int8", "int4", "bounded:.01", "bounded:rel:.004"}) {
    const auto encoder = testing::encoder_of(parse_profile(text).value());
    const Bytes first = encoder->encode(steps[0])->frame, second = encoder->encode(steps[1])->frame;
    all.push_back({text, {}, first, steps[0].bytes()});
    if (!inspect(second, kGenerous)->key_frame) all.push_back({"predicted", first, second, steps[0].bytes()});
  }
  return all;
}

// Decodes on the device and the CPU: both take the frame or refuse it, and what they take is the same.
void expect_same_verdict(const Sample& sample, ByteSpan frame, const std::string& what) {
  const auto there = device_decoder();
  const auto here = Decoder::create();
  if (!sample.first.empty()) {
    ASSERT_TRUE(decode_there(*there, sample.first, sample.bytes).ok());
    ASSERT_TRUE(here->decode(sample.first, kGenerous).ok());
  }
  const DecodeLimits limits = {.max_tensor_bytes = sample.bytes};
  const auto expected = here->decode(frame, limits);
  const auto decoded = decode_there(*there, frame, sample.bytes);
  ASSERT_EQ(decoded.ok(), expected.ok())
      << sample.name << ", " << what << ": " << (decoded.ok() ? expected.error() : decoded.error()).message();
  if (decoded.ok()) {
    EXPECT_TRUE(testing::same_tensor(*decoded, *expected)) << sample.name << ", " << what;
  }
}

TEST(DeviceDamage, TruncationsAreErrors) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Sample& sample : samples()) {
    const auto decoder = device_decoder();
    for (std::size_t size = 0; size < sample.frame.size(); size += size < 64 ? 1 : 97) {
      EXPECT_FALSE(decode_there(*decoder, ByteSpan(sample.frame).first(size), sample.bytes).ok());
    }
  }
}

TEST(DeviceDamage, FlippedBitsAreNoticed) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Sample& sample : samples()) {
    const auto decoder = device_decoder();
    if (!sample.first.empty()) {
      ASSERT_TRUE(decode_there(*decoder, sample.first, sample.bytes).ok());
    }
    for (std::size_t bit = 0; bit < 8 * sample.frame.size(); bit += bit < 512 ? 3 : 1009) {
      Bytes frame = sample.frame;
      frame[bit / 8] ^= std::byte{1} << (bit % 8);
      EXPECT_FALSE(decode_there(*decoder, frame, sample.bytes).ok()) << sample.name << ", bit " << bit;
    }
    EXPECT_TRUE(decode_there(*decoder, sample.frame, sample.bytes).ok()) << sample.name;
  }
}

TEST(DeviceDamage, ContentIsJudgedAsTheCpuDoes) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const Sample& sample : samples()) {
    testing::Dice dice(17);
    for (int i = 0; i < 150; ++i) {
      Bytes frame = sample.frame;
      const std::size_t at = i < 60 ? 10 + dice.bits() % 60 : dice.bits() % (frame.size() - 4);
      frame[at] ^= std::byte(1 + dice.bits() % 255);
      expect_same_verdict(sample, with_checksum(std::move(frame)), "byte " + std::to_string(at));
    }
  }
}

}  // namespace
}  // namespace pinion::codec
