// Frames whose residuals are transformed over a grid of tokens (docs/format.md §12.7), on a device and the
// CPU.

#include <gtest/gtest.h>

#include <algorithm>

#include "pinion/codec/calibrated/low_frequencies.h"
#include "pinion/codec/cuda/device_calibrated_codec.h"
#include "pinion/codec/cuda/device_calibrated_testing.h"

namespace pinion::codec {
namespace {

using testing::decode_there;
using testing::encode_there;
using testing::kGenerous;
using testing::StepThere;
using testing::SyntheticForm;
using testing::SyntheticStream;

// Smooth streams: with tiles of all sizes, with whole ones, and with more components than a block
// has threads for.
const SyntheticForm kSmoothForms[] = {
    {.rows = 2 * 18 * 21,
     .channels = 40,
     .components = 6,
     .latents = 6,
     .deaf = 3,
     .grid = {18, 21},
     .seed = 61},
    {.rows = 32 * 24, .channels = 96, .components = 20, .latents = 8, .grid = {32, 24}, .seed = 62},
    {.rows = 3 * 24 * 13, .channels = 160, .components = 130, .latents = 16, .grid = {24, 13}, .seed = 63},
};

RowLayout layout_of(ByteSpan frame, const Calibration& calibration) {
  return parse_calibrated(parse_frame(frame, kGenerous).value(), calibration)->params.layout;
}

struct Ends {
  std::shared_ptr<const Calibration> calibration;
  std::shared_ptr<const DeviceCalibration> there;
  std::unique_ptr<DeviceCalibratedEncoder> encoder;
  std::unique_ptr<DeviceCalibratedDecoder> decoder;

  Ends(const Calibration& made, std::size_t rows, double snr_db)
      : calibration(testing::through_bytes(made)),
        there(DeviceCalibration::upload(calibration).value()),
        encoder(DeviceCalibratedEncoder::create(there, {.output_snr_db = snr_db}, rows).value()),
        decoder(DeviceCalibratedDecoder::create(there, rows).value()) {}
};

TEST(DeviceTransformed, FramesDecodeOnBothSidesAndMeetTheTarget) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kSmoothForms) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      SyntheticStream stream(form);
      Ends ends(stream.calibration(), form.rows, 30);
      CalibratedDecoder here(ends.calibration);
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        SCOPED_TRACE(std::to_string(form.components) + " components, step " + std::to_string(t));
        const auto step = stream.next(dtype);
        const StepThere step_there(step);
        const auto coded = encode_there(*ends.encoder, step_there);
        ASSERT_TRUE(coded.ok()) << coded.error().message();
        EXPECT_EQ(layout_of(coded->frame, *ends.calibration), RowLayout::kCoefficients);
        const auto expected = here.decode(coded->frame, step.context(), kGenerous);
        ASSERT_TRUE(expected.ok()) << expected.error().message();
        const auto decoded = decode_there(*ends.decoder, coded->frame, step_there);
        ASSERT_TRUE(decoded.ok()) << decoded.error().message();
        const auto difference = testing::difference_of(*expected, *decoded);
        EXPECT_LE(difference.most, difference.size * (dtype == DType::kBF16 ? 0x1p-7 : 0x1p-18));
        const Matrix sent = ends.encoder->copy_state(nullptr).value(),
                     got = ends.decoder->copy_state(nullptr).value();
        EXPECT_EQ(sent.values, got.values) << "both are the same kernels on one device";
        EXPECT_NEAR(coded->info.predicted_output_snr_db, 30, 0.3);
        // Rounding to 16 bits comes on top of what the frame states.
        if (dtype != DType::kF32) continue;
        EXPECT_NEAR(stream.measured_output_snr_db(step.tensor, *expected),
                    coded->info.predicted_output_snr_db, 0.1);
      }
    }
  }
}

TEST(DeviceTransformed, FramesOfTheCpuDecodeThere) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kSmoothForms) {
    SyntheticStream stream(form);
    Ends ends(stream.calibration(), form.rows, 30);
    auto encoder = CalibratedEncoder::create(ends.calibration, {.output_snr_db = 30}).value();
    CalibratedDecoder here(ends.calibration);
    for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
      const auto step = stream.next();
      const StepThere step_there(step);
      const Bytes frame = encoder.encode(step.tensor, step.context())->frame;
      EXPECT_EQ(layout_of(frame, *ends.calibration), RowLayout::kCoefficients);
      const Tensor expected = here.decode(frame, step.context(), kGenerous).value();
      const auto decoded = decode_there(*ends.decoder, frame, step_there);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      const auto difference = testing::difference_of(expected, *decoded);
      EXPECT_LE(difference.most, 0x1p-18 * difference.size);
      const auto coded = encode_there(*ends.encoder, step_there).value();
      EXPECT_LT(coded.frame.size(), 1.06 * static_cast<double>(frame.size()) + 48);
    }
  }
}

// Of loud and quiet rows, whose low frequencies alone are transformed (§12.8).
TEST(DeviceTransformed, LowFrequenciesOfTheCpuDecodeThere) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (SyntheticForm form : kSmoothForms) {
    form.deaf = std::max<std::size_t>(form.deaf, 1);
    form.has_loudness = true;
    form.loudness_octaves = 0.8;
    SyntheticStream stream(form);
    Ends ends(stream.calibration(), form.rows, 22);
    auto encoder = CalibratedEncoder::create(ends.calibration, {.output_snr_db = 22}).value();
    CalibratedDecoder here(ends.calibration);
    for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
      SCOPED_TRACE(std::to_string(form.components) + " components, step " + std::to_string(t));
      const auto step = stream.next();
      const Bytes frame = encoder.encode(step.tensor, step.context())->frame;
      EXPECT_TRUE(parse_calibrated(parse_frame(frame, kGenerous).value(), *ends.calibration)->low);
      const Tensor expected = here.decode(frame, step.context(), kGenerous).value();
      const auto decoded = decode_there(*ends.decoder, frame, StepThere(step));
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      const auto difference = testing::difference_of(expected, *decoded);
      EXPECT_LE(difference.most, 0x1p-18 * difference.size);
    }
  }
}

// No encoder makes low frequencies where there are no latents, but a frame may have them.
TEST(DeviceTransformed, LowFrequenciesWithoutLatentsDecodeAsOnTheCpu) {
  PINION_SKIP_WITHOUT_DEVICE();
  const SyntheticForm form{.rows = 24 * 10, .channels = 40, .components = 6, .latents = 0, .seed = 64};
  SyntheticStream stream(form);
  Ends ends(stream.calibration(), form.rows, 22);
  const auto step = stream.next();
  const Bytes plain = CalibratedEncoder::create(ends.calibration, {.output_snr_db = 22})
                          ->encode(step.tensor, step.context())
                          ->frame;
  const ParsedFrame parsed = parse_frame(plain, kGenerous).value();
  const CalibratedBody body = parse_calibrated(parsed, *ends.calibration).value();

  CalibratedParams low;
  low.layout = RowLayout::kCoefficients;
  low.grid = {24, 10};
  low.bands = {.count = 3, .step_growth = 0, .scales = {0, -1, -2}};
  low.step_log2 = body.params.step_log2;
  low.shapes = {.rare = 1, .wide = 2};
  const auto levels = levels_at(*ends.calibration, body.params.position, body.params.predictor);
  const ComponentParams classes = component_classes(levels, low);
  std::vector<std::int32_t> indices(form.components * low_bands(low.grid, form.rows, 3).rows());
  testing::Dice dice(8);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const bool is_active = classes.scales[i * form.components / indices.size()] > 0;
    indices[i] = is_active ? static_cast<std::int32_t>(dice.bits() % 5) - 2 : 0;
  }
  IndexTables tables;
  ChunkPool pool(1);
  ByteWriter written;
  write_low_frequencies(written, levels, form.rows, low, classes, indices, 4000, tables, pool);
  constexpr std::size_t kShapesAt = 7, kFieldsEnd = 9;  // of a key frame's body without bands
  ASSERT_EQ(body.params.layout, RowLayout::kTokens);
  Bytes joined(parsed.body.begin(), parsed.body.end());
  joined[kShapesAt] |= std::byte{0x80};
  joined.insert(joined.begin() + kFieldsEnd, written.view().begin(), written.view().end());
  const Bytes frame = write_frame(parsed.header, joined);

  const Tensor expected =
      CalibratedDecoder(ends.calibration).decode(frame, step.context(), kGenerous).value();
  const auto decoded = decode_there(*ends.decoder, frame, StepThere(step));
  ASSERT_TRUE(decoded.ok()) << decoded.error().message();
  const auto difference = testing::difference_of(expected, *decoded);
  EXPECT_LE(difference.most, 0x1p-18 * difference.size);
}

TEST(DeviceTransformed, TokensAreCodedWhereNeighboursDifferOrNoGridIsKnown) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticForm white = kSmoothForms[0];
  white.grid = {};
  SyntheticStream stream(white);
  Ends ends(stream.calibration(), white.rows, 30);
  Ends plain(stream.calibration(), white.rows, 30);
  CalibratedDecoder here(ends.calibration);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    auto step = stream.next();
    const Bytes expected = encode_there(*plain.encoder, StepThere(step)).value().frame;
    step.grid = kSmoothForms[0].grid;
    const StepThere step_there(step);
    const auto coded = encode_there(*ends.encoder, step_there).value();
    EXPECT_EQ(layout_of(coded.frame, *ends.calibration), RowLayout::kTokens);
    EXPECT_EQ(coded.frame, expected);
    EXPECT_TRUE(here.decode(coded.frame, step.context(), kGenerous).ok());
    EXPECT_TRUE(decode_there(*ends.decoder, coded.frame, step_there).ok());
  }
}

}  // namespace
}  // namespace pinion::codec
