// Calibrated frames with low frequencies in front of their rows (docs/format.md §12.8).

#include "pinion/codec/calibrated/low_frequencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::kSyntheticSteps;
using testing::SyntheticForm;
using testing::SyntheticStream;

// Two pictures whose tiles are not all whole.
constexpr SyntheticForm kSmooth = {.rows = 2 * 18 * 21,
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

struct Coded {
  std::shared_ptr<const Calibration> calibration;
  std::vector<SyntheticStream::Step> steps;
  std::vector<Bytes> frames;
};

Coded code(const TokenGrid& told, int threads = 1, const CalibratedTarget& target = {.output_snr_db = 22}) {
  SyntheticStream stream(kSmooth);
  Coded coded{.calibration = testing::through_bytes(stream.calibration()), .steps = {}, .frames = {}};
  auto encoder = CalibratedEncoder::create(coded.calibration, target, threads).value();
  CalibratedDecoder decoder(coded.calibration, threads);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    SCOPED_TRACE(t);
    coded.steps.push_back(stream.next());
    const auto& step = coded.steps.back();
    StepContext context = step.context();
    context.grid = told;
    const CalibratedFrame frame = encoder.encode(step.tensor, context).value();
    context.grid = {};  // decoders need it not
    const Tensor decoded = decoder.decode(frame.frame, context, kGenerous).value();
    const double measured = stream.measured_output_snr_db(step.tensor, decoded);
    EXPECT_NEAR(measured, frame.stats.predicted_output_snr_db, 0.1);
    EXPECT_TRUE(target.frame_bytes > 0 || std::abs(measured - target.output_snr_db) < 0.3) << measured;
    EXPECT_GE(frame.stats.coded_bits, frame.stats.ideal_index_bits);
    EXPECT_LE(frame.stats.coded_bits, 8.0 * static_cast<double>(frame.frame.size()));
    coded.frames.push_back(frame.frame);
  }
  return coded;
}

TEST(LowFrequencies, TakeFewerBytesWhereNeighboursAreAlike) {
  const Coded plain = code({}), low = code(kSmooth.grid);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    EXPECT_FALSE(body_of(plain.frames[t], *plain.calibration).low);
    const CalibratedBody body = body_of(low.frames[t], *low.calibration);
    EXPECT_EQ(body.params.layout, RowLayout::kBands);
    ASSERT_TRUE(body.low);
    EXPECT_EQ(body.low->params.grid, kSmooth.grid);
    EXPECT_LT(low.frames[t].size(), 0.95 * static_cast<double>(plain.frames[t].size()));
  }
}

TEST(LowFrequencies, AreNotUsedWhereNeighboursDiffer) {
  SyntheticForm white = kSmooth;
  white.grid = {};
  SyntheticStream stream(white);
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 30}).value();
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    const auto step = stream.next();
    StepContext context = step.context();
    context.grid = kSmooth.grid;
    EXPECT_FALSE(body_of(encoder.encode(step.tensor, context)->frame, *calibration).low);
  }
}

TEST(LowFrequencies, AreTheSameWithAnyNumberOfThreads) {
  EXPECT_EQ(code(kSmooth.grid).frames, code(kSmooth.grid, 3).frames);
}

TEST(LowFrequencies, CountInABudget) {
  const CalibratedTarget target{.frame_bytes = 600};
  const Coded plain = code({}, 1, target), low = code(kSmooth.grid, 1, target);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    EXPECT_TRUE(body_of(low.frames[t], *low.calibration).low);
    EXPECT_NEAR(static_cast<double>(low.frames[t].size()), static_cast<double>(plain.frames[t].size()), 20);
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

// What a frame says of its low frequencies, changed at `at` from their first field on.
Bytes changed(const Coded& coded, std::size_t at, std::byte value) {
  const ParsedFrame parsed = parse_frame(coded.frames[1], kGenerous).value();
  Bytes body(parsed.body.begin(), parsed.body.end());
  constexpr std::array kGrid = {std::byte{21}, std::byte{0}, std::byte{18}, std::byte{0}};
  const auto low = std::search(body.begin(), body.end(), kGrid.begin(), kGrid.end());
  EXPECT_NE(low, body.end());
  low[static_cast<std::ptrdiff_t>(at)] = value;
  return write_frame(parsed.header, body);
}

TEST(LowFrequencies, ImpossibleFieldsAreRefused) {
  const Coded coded = code(kSmooth.grid);
  constexpr std::size_t kColumns = 0, kLines = 2, kClasses = 4, kStep = 5, kShapes = 7;
  for (const auto& [at, value] : {std::pair<std::size_t, int>{kColumns, 20},
                                  {kColumns, 0},
                                  {kLines, 0},
                                  {kLines, 17},
                                  {kClasses, 0},
                                  {kClasses, 8},
                                  {kStep + 1, 0x7f},
                                  {kShapes, 0x09},
                                  {kShapes, 0x29},
                                  {kShapes, 0x69},
                                  {kShapes, 0xc9}}) {
    SCOPED_TRACE(at);
    CalibratedDecoder decoder(coded.calibration);
    ASSERT_TRUE(decoder.decode(coded.frames[0], coded.steps[0].context(), kGenerous).ok());
    const auto decoded = decoder.decode(changed(coded, at, static_cast<std::byte>(value)),
                                        coded.steps[1].context(), kGenerous);
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kBadFormat);
  }
}

TEST(LowFrequencies, AndATransformExcludeEachOther) {
  const Coded coded = code(kSmooth.grid);
  const ParsedFrame parsed = parse_frame(coded.frames[1], kGenerous).value();
  Bytes body(parsed.body.begin(), parsed.body.end());
  body[7] |= std::byte{64};
  const Bytes frame = write_frame(parsed.header, body);
  EXPECT_FALSE(parse_calibrated(parse_frame(frame, kGenerous).value(), *coded.calibration).ok());
}

}  // namespace
}  // namespace pinion::codec
