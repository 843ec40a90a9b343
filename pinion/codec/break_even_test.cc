#include "pinion/codec/break_even.h"

#include <gtest/gtest.h>

#include <limits>

namespace pinion::codec {
namespace {

CodecTrial trial(const std::string& profile, std::size_t bytes, double encode_ms, double decode_ms) {
  return {parse_profile(profile).value(), bytes, encode_ms, decode_ms, ""};
}

// A state of 36 MB, coded about as fast as docs/benchmarks.md says.
std::vector<CodecTrial> wide_state() {
  return {trial("raw", 36'000'000, 4, 4), trial("lossless", 24'000'000, 62, 38),
          trial("int8", 20'000'000, 15, 15), trial("fidelity:24", 3'500'000, 2500, 500),
          trial("calibrated:30", 600'000, 300, 80)};
}

std::string chosen(const std::vector<CodecTrial>& trials, double megabytes_per_s) {
  return to_string(
      trials[choose_codec(trials, {.bytes_per_s = megabytes_per_s * 1e6, .round_trip_ms = 1})].profile);
}

TEST(BreakEven, TheTimeIsCodingAndSending) {
  EXPECT_DOUBLE_EQ(expected_ms(trial("int8", 2'000'000, 3, 4), {.bytes_per_s = 1e6, .round_trip_ms = 50}),
                   2007);
}

TEST(BreakEven, TheWayBackCounts) {
  std::vector<CodecTrial> trials{trial("raw", 1'000'000, 1, 1), trial("int8", 250'000, 1, 1),
                                 trial("calibrated:30", 10'000, 15, 10)};
  EXPECT_EQ(chosen(trials, 12.5), "int8");
  for (CodecTrial& each : trials) each.way_back_ms = each.profile.mode == Mode::kCalibrated ? 3 : 30;
  EXPECT_EQ(chosen(trials, 12.5), "calibrated:30");
}

TEST(BreakEven, TheLinkDecides) {
  EXPECT_EQ(chosen(wide_state(), 5000), "raw");
  EXPECT_EQ(chosen(wide_state(), 118), "int8");          // 1 Gbit/s
  EXPECT_EQ(chosen(wide_state(), 20), "calibrated:30");  // Wi-Fi
  std::vector<CodecTrial> uncalibrated = wide_state();
  uncalibrated.pop_back();
  EXPECT_EQ(chosen(uncalibrated, 20), "int8");
  EXPECT_EQ(chosen(uncalibrated, 2), "fidelity:24");
  uncalibrated.resize(2);
  EXPECT_EQ(chosen(uncalibrated, 118), "raw");  // 311 ms or 303 ms: no gain that counts
  EXPECT_EQ(chosen(uncalibrated, 20), "lossless");
}

TEST(BreakEven, IsNeverSlowerThanRaw) {
  for (double megabytes_per_s = 0.01; megabytes_per_s < 1e6; megabytes_per_s *= 1.3) {
    const LinkSpeed link{.bytes_per_s = megabytes_per_s * 1e6, .round_trip_ms = 1};
    const auto trials = wide_state();
    EXPECT_LE(expected_ms(trials[choose_codec(trials, link)], link), expected_ms(trials[0], link));
  }
}

TEST(BreakEven, TiesGoToTheMoreExact) {
  const std::vector<CodecTrial> trials{trial("raw", 1000, 1, 1), trial("lossless", 1000, 1, 1),
                                       trial("int8", 910, 1, 1)};
  EXPECT_EQ(chosen(trials, 1e-3), "raw");  // 9 % are not enough
  EXPECT_EQ(chosen({trials[0], trial("int8", 890, 0, 0)}, 1e-3), "int8");
}

TEST(BreakEven, NothingIsLostForAGainThatNobodyNotices) {
  EXPECT_EQ(chosen({trial("raw", 1'000'000, .5, .5), trial("int8", 250'000, .1, .1)}, 1000),
            "raw");  // 2 ms, .45
  EXPECT_EQ(chosen({trial("raw", 2'000'000, .5, .5), trial("int8", 500'000, .1, .1)}, 1000), "int8");
}

TEST(BreakEven, PassesOverWhatCannotBeUsed) {
  std::vector<CodecTrial> trials = wide_state();
  trials[4] = {trials[4].profile, 0, 0, 0, "no calibration of cut 3"};
  EXPECT_EQ(chosen(trials, 20), "int8");
}

TEST(BreakEven, SaysBelowWhichSpeedACodecPays) {
  const CodecTrial raw = trial("raw", 36'000'000, 4, 4);
  // 12 MB for 92 ms.
  EXPECT_NEAR(pays_below(trial("lossless", 24'000'000, 62, 38), raw), 12e6 / .092, 1);
  EXPECT_EQ(pays_below(trial("int8", 20'000'000, 3, 4), raw), std::numeric_limits<double>::infinity());
  EXPECT_EQ(pays_below(trial("int8", 36'000'000, 1, 1), raw), 0);
}

}  // namespace
}  // namespace pinion::codec
