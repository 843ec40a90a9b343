// Calibrated frames, broken in every way: an error, or a tensor that is what the CPU makes of them. Checksums
// are made right again where the damage is to reach the kernels.

#include <gtest/gtest.h>

#include <cstring>

#include "pinion/base/crc32c.h"
#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/cuda/device_calibrated_testing.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::encode_there;
using testing::kGenerous;
using testing::StepThere;
using testing::SyntheticForm;
using testing::SyntheticStream;

constexpr std::size_t kMaxRows = 700;

// Two frames, with what decodes them. The device made them but for those with low frequencies, which only the
// CPU makes.
struct Sample {
  std::shared_ptr<const Calibration> calibration;
  std::shared_ptr<const DeviceCalibration> there;
  SyntheticStream::Step first_step, second_step;
  Bytes first, second;

  explicit Sample(const SyntheticForm& form) {
    SyntheticStream stream(form);
    calibration = testing::through_bytes(stream.calibration());
    there = DeviceCalibration::upload(calibration).value();
    first_step = stream.next();
    second_step = stream.next();
    if (form.grid.tokens() > 0) {
      auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 22}).value();
      first = encoder.encode(first_step.tensor, first_step.context())->frame;
      second = encoder.encode(second_step.tensor, second_step.context())->frame;
      EXPECT_TRUE(parse_calibrated(parse_frame(second, kGenerous).value(), *calibration)->low);
      return;
    }
    const auto encoder = DeviceCalibratedEncoder::create(there, {.output_snr_db = 30}, kMaxRows).value();
    first = encode_there(*encoder, StepThere(first_step)).value().frame;
    second = encode_there(*encoder, StepThere(second_step)).value().frame;
  }
};

const SyntheticForm kForms[] = {{.rows = 600, .seed = 61},
                                {.rows = 300, .components = 20, .has_loudness = true, .seed = 62},
                                {.rows = 2 * 18 * 19,
                                 .components = 20,
                                 .has_loudness = true,
                                 .loudness_octaves = 0.8,
                                 .grid = {18, 19},
                                 .seed = 63}};

Bytes with_right_checksum(Bytes frame) {
  const std::uint32_t checksum = crc32c(ByteSpan(frame).first(frame.size() - 4));
  std::memcpy(frame.data() + frame.size() - 4, &checksum, 4);
  return frame;
}

TEST(DeviceCalibratedDamage, TruncationsAndFlippedBitsAreErrors) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    const Sample sample(form);
    const StepThere first(sample.first_step), second(sample.second_step);
    const auto decoder = DeviceCalibratedDecoder::create(sample.there, kMaxRows).value();
    ASSERT_TRUE(decode_there(*decoder, sample.first, first).ok());
    for (std::size_t size = 0; size < sample.second.size(); size += size < 64 ? 1 : 97)
      EXPECT_FALSE(decode_there(*decoder, ByteSpan(sample.second).first(size), second).ok()) << size;
    for (std::size_t bit = 0; bit < 8 * sample.second.size(); bit += bit < 640 ? 3 : 521) {
      Bytes frame = sample.second;
      frame[bit / 8] ^= std::byte{1} << (bit % 8);
      EXPECT_FALSE(decode_there(*decoder, frame, second).ok()) << bit;
    }
    EXPECT_TRUE(decode_there(*decoder, sample.second, second).ok());
  }
}

TEST(DeviceCalibratedDamage, ContentIsJudgedAsTheCpuDoes) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    const Sample sample(form);
    const StepThere first(sample.first_step), second(sample.second_step);
    testing::Dice dice(19);
    std::size_t taken = 0;
    const auto decoder = DeviceCalibratedDecoder::create(sample.there, kMaxRows).value();
    for (int i = 0; i < 160; ++i) {
      Bytes frame = sample.second;
      const std::size_t at = i < 80 ? 8 + dice.bits() % 100 : dice.bits() % (frame.size() - 4);
      frame[at] ^= std::byte(1 + dice.bits() % 255);
      frame = with_right_checksum(std::move(frame));
      CalibratedDecoder here(sample.calibration);
      ASSERT_TRUE(here.decode(sample.first, sample.first_step.context(), kGenerous).ok());
      ASSERT_TRUE(decode_there(*decoder, sample.first, first).ok());
      const DecodeLimits limits = {.max_tensor_bytes = sample.second_step.tensor.bytes()};
      const auto expected = here.decode(frame, sample.second_step.context(), limits);
      const auto decoded = decode_there(*decoder, frame, second);
      ASSERT_EQ(decoded.ok(), expected.ok())
          << "byte " << at << ": " << (decoded.ok() ? expected.error() : decoded.error()).message();
      if (!decoded.ok()) continue;
      ++taken;
      const auto difference = testing::difference_of(*expected, *decoded);
      EXPECT_LE(difference.most, 0x1p-16 * difference.size) << "byte " << at;
    }
    EXPECT_GT(taken, 0u);
  }
}

}  // namespace
}  // namespace pinion::codec
