// Calibrated frames with low frequencies in front of their rows (docs/format.md §12.8).

#include "pinion/codec/calibrated/low_frequencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "pinion/codec/calibrated/coded_stream_testing.h"

namespace pinion::codec {
namespace {

using testing::CodedStream;
using testing::kGenerous;
using testing::kSyntheticSteps;
using testing::SyntheticForm;
using testing::SyntheticStream;

// Two pictures whose tiles are not all whole.
constexpr SyntheticForm kSmoothAndLoud = {.rows = 2 * 18 * 21,
                                          .channels = 40,
                                          .components = 6,
                                          .latents = 6,
                                          .deaf = 3,
                                          .has_loudness = true,
                                          .loudness_octaves = 0.8,
                                          .grid = {18, 21},
                                          .seed = 71};

CalibratedBody body_of(ByteSpan frame, const Calibration& calibration) {
  return parse_calibrated(parse_frame(frame, kGenerous).value(), calibration).value();
}

CodedStream code_low(const TokenGrid& told, int threads = 1,
                     const CalibratedTarget& target = {.output_snr_db = 22}) {
  return testing::code_stream(kSmoothAndLoud, told, target, threads);
}

TEST(LowFrequencies, TakeFewerBytesWhereNeighboursAreAlike) {
  const CodedStream plain = code_low({}), low = code_low(kSmoothAndLoud.grid);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    EXPECT_FALSE(body_of(plain.frames[t], *plain.calibration).low);
    const CalibratedBody body = body_of(low.frames[t], *low.calibration);
    EXPECT_EQ(body.params.layout, RowLayout::kBands);
    ASSERT_TRUE(body.low);
    EXPECT_EQ(body.low->params.grid, kSmoothAndLoud.grid);
    EXPECT_LT(low.frames[t].size(), 0.95 * static_cast<double>(plain.frames[t].size()));
  }
}

TEST(LowFrequencies, AreNotUsedWhereNeighboursDiffer) {
  SyntheticForm white = kSmoothAndLoud;
  white.grid = {};
  SyntheticStream stream(white);
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 30}).value();
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    const auto step = stream.next();
    StepContext context = step.context();
    context.grid = kSmoothAndLoud.grid;
    EXPECT_FALSE(body_of(encoder.encode(step.tensor, context)->frame, *calibration).low);
  }
}

TEST(LowFrequencies, AreTheSameWithAnyNumberOfThreads) {
  EXPECT_EQ(code_low(kSmoothAndLoud.grid).frames, code_low(kSmoothAndLoud.grid, 3).frames);
}

TEST(LowFrequencies, CountInABudget) {
  for (const std::size_t budget : {200, 400, 600}) {
    const CalibratedTarget target{.frame_bytes = budget};
    const CodedStream plain = code_low({}, 1, target), low = code_low(kSmoothAndLoud.grid, 1, target);
    for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
      SCOPED_TRACE(t);
      EXPECT_TRUE(budget < 600 || body_of(low.frames[t], *low.calibration).low);
      EXPECT_LE(low.frames[t].size(), 1.06 * static_cast<double>(plain.frames[t].size())) << budget;
    }
  }
}

TEST(LowFrequencies, PlacesAreTheFirstOfAllCoefficients) {
  const TokenGrid grid{18, 21};
  const RowBands all(frequency_classes(grid, 2 * grid.tokens()), kFrequencyClasses);
  for (std::size_t classes = 1; classes < kFrequencyClasses; ++classes) {
    const RowBands low = low_bands(grid, 2 * grid.tokens(), classes);
    ASSERT_EQ(low.count(), classes);
    EXPECT_TRUE(std::ranges::equal(low.ends(), all.ends().first(classes)));
  }
}

// Where a frame's low frequencies begin in its body: at their grid.
std::size_t low_begins(ByteSpan body) {
  constexpr std::array kGrid = {std::byte{21}, std::byte{0}, std::byte{18}, std::byte{0}};
  const auto found = std::ranges::search(body, kGrid);
  PINION_ASSERT(!found.empty());
  return static_cast<std::size_t>(found.begin() - body.begin());
}

TEST(LowFrequencies, ImpossibleFieldsAreRefused) {
  const CodedStream coded = code_low(kSmoothAndLoud.grid);
  const ParsedFrame parsed = parse_frame(coded.frames[1], kGenerous).value();
  constexpr std::size_t kColumns = 0, kLines = 2, kClasses = 4, kStep = 5, kShapes = 7;
  struct Change {
    std::size_t at;
    int flipped;
    const char* why;
  };
  for (const auto& [at, flipped, why] :
       {Change{kColumns, 21 ^ 20, "no whole pictures"}, Change{kColumns, 21, "no whole pictures"},
        Change{kLines, 18, "no whole pictures"}, Change{kLines, 18 ^ 17, "no whole pictures"},
        Change{kClasses, 0x88, "number of low frequencies"}, Change{kStep + 1, 0x40, "impossible step"},
        Change{kShapes, 0x40, "no coefficients"}, Change{kShapes, 0x20, "both a transform"},
        Change{kShapes, 0x80, "both a transform"}}) {
    SCOPED_TRACE(why);
    Bytes body(parsed.body.begin(), parsed.body.end());
    body[low_begins(body) + at] ^= static_cast<std::byte>(flipped);
    CalibratedDecoder decoder(coded.calibration);
    ASSERT_TRUE(decoder.decode(coded.frames[0], coded.steps[0].context(), kGenerous).ok());
    const auto decoded =
        decoder.decode(write_frame(parsed.header, body), coded.steps[1].context(), kGenerous);
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kBadFormat);
    EXPECT_NE(decoded.error().text.find(why), std::string::npos) << decoded.error().text;
  }
}

TEST(LowFrequencies, AndATransformExcludeEachOther) {
  CalibratedParams params;
  EXPECT_FALSE(read_shapes(0x60, params).ok());
  EXPECT_FALSE(read_shapes(0xc0, params).ok());
  EXPECT_TRUE(read_shapes(0xa0, params).ok());
  EXPECT_TRUE(params.has_low && params.layout == RowLayout::kBands);
  EXPECT_TRUE(read_shapes(0x80, params).ok());
  EXPECT_TRUE(params.has_low && params.layout == RowLayout::kTokens);
}

}  // namespace
}  // namespace pinion::codec
