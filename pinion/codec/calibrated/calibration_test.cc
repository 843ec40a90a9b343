// The calibration asset: round trip, checks, refusals.

#include "pinion/codec/calibrated/calibration.h"

#include <gtest/gtest.h>

#include "pinion/base/crc32c.h"
#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec {
namespace {

using testing::SyntheticStream;

Calibration small() {
  Calibration calibration =
      SyntheticStream(
          {.channels = 12, .components = 3, .latents = 2, .deaf = 1, .has_loudness = true, .seed = 30})
          .calibration();
  calibration.records[0].loudness_bias = -3.5f;
  calibration.records[1].mean[2] = -1234.5f;
  calibration.records[1].floor = 0.25f;
  calibration.reconstruction.row(1)[3] = 0;
  std::fill(calibration.projection.values.begin(), calibration.projection.values.begin() + 3, 0.0f);
  return calibration;
}

void expect_close(const Matrix& a, const Matrix& b, double relative) {
  ASSERT_EQ(a.rows, b.rows);
  ASSERT_EQ(a.columns, b.columns);
  float largest = 0;
  for (const float value : a.values) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    EXPECT_NEAR(a.values[i], b.values[i], relative * static_cast<double>(largest));
  }
}

TEST(Calibration, SurvivesARoundTrip) {
  const Calibration made = small();
  const Bytes bytes = write_calibration(made);
  const auto read = parse_calibration(bytes).value();
  EXPECT_EQ(read->key, made.key);
  EXPECT_TRUE(read->has_history);
  EXPECT_EQ(read->channels(), 12u);
  EXPECT_EQ(read->components(), 3u);
  EXPECT_EQ(read->latents(), 2u);
  ASSERT_EQ(read->records.size(), made.records.size());
  // Half a step of 16 bits.
  expect_close(made.projection, read->projection, 0x1p-15);
  expect_close(made.reconstruction, read->reconstruction, 0x1p-15);
  for (std::size_t i = 0; i < made.records.size(); ++i) {
    const CalibrationRecord &a = made.records[i], &b = read->records[i];
    EXPECT_EQ(a.sigma, b.sigma);
    EXPECT_EQ(a.mean, b.mean);
    EXPECT_EQ(a.latent_mean, b.latent_mean);
    EXPECT_EQ(a.change_mean, b.change_mean);
    expect_close(a.latents_alone, b.latents_alone, 0x1p-15);
    expect_close(a.history, b.history, 0x1p-15);
    EXPECT_EQ(a.levels, b.levels);
    EXPECT_EQ(a.history_levels, b.history_levels);
    EXPECT_EQ(a.gain, b.gain);
    EXPECT_EQ(a.floor, b.floor);
    EXPECT_EQ(a.output_energy, b.output_energy);
    EXPECT_EQ(a.loudness, b.loudness);
    EXPECT_EQ(a.loudness_bias, b.loudness_bias);
  }
  EXPECT_EQ(write_calibration(*read), bytes);
  EXPECT_EQ(parse_calibration(write_calibration(*read))->get()->id, read->id);
}

TEST(Calibration, MayHoldResponses) {
  const Calibration made =
      testing::SyntheticStream(
          {.rows = 4, .channels = 12, .components = 3, .latents = 2, .has_response = true})
          .calibration();
  const Bytes bytes = write_calibration(made);
  const auto read = parse_calibration(bytes).value();
  EXPECT_TRUE(read->has_response);
  for (std::size_t i = 0; i < made.records.size(); ++i)
    expect_close(made.records[i].response, read->records[i].response, 0x1p-15);
  EXPECT_EQ(write_calibration(*read), bytes);
  EXPECT_FALSE(parse_calibration(write_calibration(small())).value()->has_response);
}

TEST(Calibration, AResponseIsOfAVelocity) {
  const Calibration made =
      testing::SyntheticStream({.rows = 4, .channels = 12, .components = 3, .latents = 0}).calibration();
  Bytes bytes = write_calibration(made);
  constexpr std::size_t kFlags = 5;
  bytes[kFlags] |= std::byte{4};
  EXPECT_EQ(parse_calibration(bytes).error().code, Errc::kBadFormat);
  bytes[kFlags] |= std::byte{8};
  EXPECT_EQ(parse_calibration(bytes).error().code, Errc::kBadFormat);
}

TEST(Calibration, LevelsAreEighthsOfAnOctave) {
  EXPECT_EQ(level_of(1), 128);
  EXPECT_EQ(level_of(2), 136);
  EXPECT_EQ(level_of(0.5), 120);
  EXPECT_EQ(level_of(0), 0);
  EXPECT_EQ(level_of(1e30), 255);
}

TEST(Calibration, OfAnotherModelCutOrStreamIsRefused) {
  const Calibration calibration = small();
  EXPECT_TRUE(check_calibration(calibration, calibration.key).ok());
  CalibrationKey wanted = calibration.key;
  wanted.model[31] = std::byte{1};
  EXPECT_EQ(check_calibration(calibration, wanted).error().code, Errc::kModelMismatch);
  wanted = calibration.key;
  wanted.cut = 4;
  EXPECT_EQ(check_calibration(calibration, wanted).error().code, Errc::kInvalidArgument);
  wanted = calibration.key;
  wanted.stream = "text";
  EXPECT_EQ(check_calibration(calibration, wanted).error().code, Errc::kInvalidArgument);
}

TEST(Calibration, ReadsNoMoreThanItMay) {
  const Bytes bytes = write_calibration(small());
  EXPECT_EQ(parse_calibration(bytes, 100).error().code, Errc::kTooLarge);
  Bytes longer = bytes;
  longer.insert(longer.end() - 4, std::byte{0});
  EXPECT_EQ(parse_calibration(longer).error().code, Errc::kBadFormat);
}

// `at` bytes before the checksum.
Bytes with_float(const Bytes& bytes, std::size_t at, float value) {
  Bytes changed = bytes;
  std::memcpy(changed.data() + changed.size() - kChecksumBytes - at, &value, sizeof(value));
  const std::uint32_t checksum = crc32c(ByteSpan(changed).first(changed.size() - kChecksumBytes));
  std::memcpy(changed.data() + changed.size() - kChecksumBytes, &checksum, sizeof(checksum));
  return changed;
}

TEST(Calibration, NumbersOutOfRangeAreRefused) {
  // What the last record ends with, as places before the checksum.
  const std::size_t bias = 4, energy = bias + 12 * 4 + 4, floor = energy + 4;
  const Bytes bytes = write_calibration(small());
  EXPECT_TRUE(parse_calibration(with_float(bytes, energy, 2.0f)).ok());
  for (const float bad : {0.0f, -1.0f, std::nanf(""), std::numeric_limits<float>::infinity(), 1e30f}) {
    EXPECT_EQ(parse_calibration(with_float(bytes, energy, bad)).error().code, Errc::kBadFormat) << bad;
  }
  EXPECT_EQ(parse_calibration(with_float(bytes, floor, -0.5f)).error().code, Errc::kBadFormat);
  EXPECT_TRUE(parse_calibration(with_float(bytes, bias, -1e3f)).ok());
  EXPECT_EQ(parse_calibration(with_float(bytes, bias, std::nanf(""))).error().code, Errc::kBadFormat);
  Calibration unordered = small();
  std::swap(unordered.records[1].sigma, unordered.records[2].sigma);
  EXPECT_EQ(parse_calibration(write_calibration(unordered)).error().code, Errc::kBadFormat);
}

}  // namespace
}  // namespace pinion::codec
