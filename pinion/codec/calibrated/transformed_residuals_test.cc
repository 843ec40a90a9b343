// Calibrated frames whose residuals are transformed over a grid of tokens (docs/format.md §12.7).

#include <gtest/gtest.h>

#include "pinion/codec/calibrated/calibrated_format.h"
#include "pinion/codec/calibrated/coded_stream_testing.h"

namespace pinion::codec {
namespace {

using testing::CodedStream;
using testing::kGenerous;
using testing::kSyntheticSteps;
using testing::SyntheticForm;
using testing::SyntheticStream;

constexpr SyntheticForm kSmooth = {.rows = 2 * 18 * 21,
                                   .channels = 40,
                                   .components = 6,
                                   .latents = 6,
                                   .deaf = 3,
                                   .grid = {18, 21},
                                   .seed = 61};

RowLayout layout_of(ByteSpan frame, const Calibration& calibration) {
  return parse_calibrated(parse_frame(frame, kGenerous).value(), calibration)->params.layout;
}

CodedStream code(const SyntheticForm& form, bool with_grid, int threads = 1) {
  return testing::code_stream(form, with_grid ? form.grid : TokenGrid{}, {.output_snr_db = 30}, threads);
}

TEST(TransformedResiduals, TakeFewerBytesWhereNeighboursAreAlike) {
  const CodedStream plain = code(kSmooth, false), transformed = code(kSmooth, true);
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    EXPECT_EQ(layout_of(plain.frames[t], *plain.calibration), RowLayout::kTokens);
    EXPECT_EQ(layout_of(transformed.frames[t], *transformed.calibration), RowLayout::kCoefficients);
  }
  EXPECT_LT(transformed.bytes(), 0.85 * plain.bytes());
}

TEST(TransformedResiduals, AreNotUsedWhereNeighboursDiffer) {
  SyntheticForm white = kSmooth;
  white.grid = {};
  SyntheticStream stream(white);
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 30}).value();
  for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
    const auto step = stream.next();
    StepContext context = step.context();
    context.grid = kSmooth.grid;
    EXPECT_EQ(layout_of(encoder.encode(step.tensor, context)->frame, *calibration), RowLayout::kTokens);
  }
}

TEST(TransformedResiduals, AreTheSameWithAnyNumberOfThreads) {
  EXPECT_EQ(code(kSmooth, true).frames, code(kSmooth, true, 3).frames);
}

TEST(TransformedResiduals, AGridThatIsNotTheRowsIsRefused) {
  const CodedStream coded = code(kSmooth, true);
  SyntheticStream stream(kSmooth);
  const auto calibration = testing::through_bytes(stream.calibration());
  const auto step = stream.next();
  const ParsedFrame parsed = parse_frame(coded.frames[0], kGenerous).value();
  constexpr std::size_t kGridAt = 1 + 2 + 2 + 2 + 1 + 1;  // behind predictor to scale_offset
  for (const auto& [columns, lines] : {std::pair<int, int>{20, 18}, {0, 18}, {21, 0}, {21, 17}}) {
    Bytes body(parsed.body.begin(), parsed.body.end());
    body[kGridAt] = static_cast<std::byte>(columns);
    body[kGridAt + 2] = static_cast<std::byte>(lines);
    const auto decoded =
        CalibratedDecoder(calibration).decode(write_frame(parsed.header, body), step.context(), kGenerous);
    ASSERT_FALSE(decoded.ok());
    EXPECT_EQ(decoded.error().code, Errc::kBadFormat);
  }
}

TEST(TransformedResiduals, BandsAndATransformExcludeEachOther) {
  const CodedStream coded = code(kSmooth, true);
  const auto calibration = testing::through_bytes(SyntheticStream(kSmooth).calibration());
  const ParsedFrame parsed = parse_frame(coded.frames[0], kGenerous).value();
  Bytes body(parsed.body.begin(), parsed.body.end());
  body[7] |= std::byte{32};
  const Bytes frame = write_frame(parsed.header, body);
  EXPECT_FALSE(parse_calibrated(parse_frame(frame, kGenerous).value(), *calibration).ok());
}

}  // namespace
}  // namespace pinion::codec
