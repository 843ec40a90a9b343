// Calibrated coding on a device against the CPU: frames both ways, the same indices, targets met, no drift.

#include <gtest/gtest.h>

#include "pinion/codec/calibrated/calibrated_format.h"
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

constexpr std::size_t kMaxRows = 1200;

struct Ends {
  std::shared_ptr<const Calibration> calibration;
  std::shared_ptr<const DeviceCalibration> there;
  std::unique_ptr<DeviceCalibratedEncoder> encoder;
  std::unique_ptr<DeviceCalibratedDecoder> decoder;

  Ends(const Calibration& made, double snr_db)
      : calibration(testing::through_bytes(made)),
        there(DeviceCalibration::upload(calibration).value()),
        encoder(DeviceCalibratedEncoder::create(there, {.output_snr_db = snr_db}, kMaxRows).value()),
        decoder(DeviceCalibratedDecoder::create(there, kMaxRows).value()) {}
};

std::vector<std::int32_t> indices_of(ByteSpan frame, const Calibration& calibration) {
  const ParsedFrame parsed = parse_frame(frame, kGenerous).value();
  const CalibratedBody body = parse_calibrated(parsed, calibration).value();
  const auto rows = static_cast<std::size_t>(rows_of(parsed.header.shape));
  std::vector<std::int32_t> indices(calibration.components() * rows);
  IndexTables tables;
  ChunkPool pool(1);
  const std::vector<std::size_t> ends = {rows};
  EXPECT_TRUE(decode_index_chunks(body.chunks,
                                  {.params = body.components, .band_ends = ends, .values = indices}, tables,
                                  pool)
                  .ok());
  return indices;
}

const SyntheticForm kForms[] = {
    {.seed = 11},
    {.has_history = false, .seed = 12},
    {.rows = 1100, .channels = 200, .components = 40, .latents = 0, .seed = 13},
    {.rows = 333, .channels = 97, .components = 13, .latents = 5, .seed = 14},
    {.rows = 1, .channels = 96, .seed = 15},
    {.rows = 1024, .has_loudness = true, .seed = 26},
    {.rows = 77, .channels = 150, .components = 130, .latents = 128, .deaf = 4, .seed = 17},
};

std::string name_of(const SyntheticForm& form) {
  return std::to_string(form.rows) + " x " + std::to_string(form.channels) + ", " +
         std::to_string(form.components) + " components, " + std::to_string(form.latents) + " latents" +
         (form.has_history ? "" : ", no history") + (form.has_loudness ? ", loudness" : "");
}

TEST(DeviceCalibrated, FramesDecodeOnBothSidesAndMeetTheTarget) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      SyntheticStream stream(form);
      Ends ends(stream.calibration(), 25);
      CalibratedDecoder here(ends.calibration);
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        SCOPED_TRACE(name_of(form) + ", " + std::string(name(dtype)) + ", step " + std::to_string(t));
        const auto step = stream.next(dtype);
        const StepThere step_there(step);
        const auto coded = encode_there(*ends.encoder, step_there);
        ASSERT_TRUE(coded.ok()) << coded.error().message();
        EXPECT_EQ(coded->info.frame.key_frame, t == 0);
        const auto expected = here.decode(coded->frame, step.context(), kGenerous);
        ASSERT_TRUE(expected.ok()) << expected.error().message();
        const auto decoded = decode_there(*ends.decoder, coded->frame, step_there);
        ASSERT_TRUE(decoded.ok()) << decoded.error().message();
        const auto difference = testing::difference_of(*expected, *decoded);
        EXPECT_LE(difference.most, difference.size * (dtype == DType::kBF16  ? 0x1p-7
                                                      : dtype == DType::kF16 ? 0x1p-10
                                                                             : 0x1p-18));
        if (form.rows < 64) continue;
        EXPECT_NEAR(coded->info.predicted_output_snr_db, 25, 0.3);
        EXPECT_NEAR(inspect(coded->frame, kGenerous)->output_snr_db, coded->info.predicted_output_snr_db,
                    0.006);
        // Rounding to 16 bits comes on top of what the frame states.
        if (dtype != DType::kF32) continue;
        EXPECT_NEAR(coded->info.predicted_output_snr_db,
                    stream.measured_output_snr_db(step.tensor, *expected), 0.1);
      }
    }
  }
}

TEST(DeviceCalibrated, PredictedSnrAndSizeAreThoseOfTheCpu) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    if (form.rows < 64) continue;
    for (const double target : {12.0, 30.0, 45.0}) {
      SyntheticStream stream(form);
      Ends ends(stream.calibration(), target);
      auto here = CalibratedEncoder::create(ends.calibration, {.output_snr_db = target}).value();
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        SCOPED_TRACE(name_of(form) + ", " + std::to_string(target) + " dB, step " + std::to_string(t));
        const auto step = stream.next();
        const StepThere step_there(step);
        const auto coded = encode_there(*ends.encoder, step_there).value();
        const auto expected = here.encode(step.tensor, step.context()).value();
        EXPECT_NEAR(coded.info.predicted_output_snr_db, expected.stats.predicted_output_snr_db, 0.3);
        // More lanes and chunks, and classes priced by bins.
        EXPECT_LT(coded.frame.size(), 1.06 * static_cast<double>(expected.frame.size()) + 48);
      }
    }
  }
}

// The encoder states what its quantisation does to y: what the CPU would state for the same indices.
TEST(DeviceCalibrated, StatedSnrIsWhatDecodedIndicesGive) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticStream stream({.rows = 1000, .seed = 31});
  Ends ends(stream.calibration(), 30);
  CalibratedDecoder here(ends.calibration);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    const auto step = stream.next();
    const StepThere step_there(step);
    const auto coded = encode_there(*ends.encoder, step_there).value();
    const Tensor decoded = here.decode(coded.frame, step.context(), kGenerous).value();
    EXPECT_NEAR(coded.info.predicted_output_snr_db, stream.measured_output_snr_db(step.tensor, decoded),
                0.05);
  }
}

TEST(DeviceCalibrated, FramesOfTheCpuDecodeThere) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    SyntheticStream stream(form);
    Ends ends(stream.calibration(), 25);
    auto encoder = CalibratedEncoder::create(ends.calibration, {.output_snr_db = 35}).value();
    CalibratedDecoder here(ends.calibration);
    for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
      SCOPED_TRACE(name_of(form) + ", step " + std::to_string(t));
      const auto step = stream.next();
      const StepThere step_there(step);
      const Bytes frame = encoder.encode(step.tensor, step.context())->frame;
      const Tensor expected = here.decode(frame, step.context(), kGenerous).value();
      const auto decoded = decode_there(*ends.decoder, frame, step_there);
      ASSERT_TRUE(decoded.ok()) << decoded.error().message();
      const auto difference = testing::difference_of(expected, *decoded);
      EXPECT_LE(difference.most, 0x1p-18 * difference.size);
    }
  }
}

// What y would become over many steps if the two sides rounded the prediction otherwise.
TEST(DeviceCalibrated, TwentyStepsDoNotDriftApart) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticStream stream({.rows = 300, .channels = 128, .components = 96, .latents = 32, .seed = 41});
  Ends ends(stream.calibration(), 30);
  CalibratedDecoder here(ends.calibration);
  for (std::size_t t = 0; t < 24; ++t) {
    auto step = stream.next();
    // All records are alike and know this change of sigma: a schedule without end.
    step.sigma = 0.5f;
    if (t > 0) step.previous_sigma = 0.75f;
    const StepThere step_there(step);
    const auto coded = encode_there(*ends.encoder, step_there);
    ASSERT_TRUE(coded.ok()) << coded.error().message();
    const Tensor expected = here.decode(coded->frame, step.context(), kGenerous).value();
    const Tensor decoded = decode_there(*ends.decoder, coded->frame, step_there).value();
    const auto difference = testing::difference_of(expected, decoded);
    EXPECT_LE(difference.most, 0x1p-17 * difference.size) << t;
    const Matrix sent = ends.encoder->copy_state(nullptr).value(),
                 got = ends.decoder->copy_state(nullptr).value();
    ASSERT_EQ(sent.values.size(), got.values.size());
    EXPECT_EQ(sent.values, got.values) << "both are the same kernels on one device";
  }
}

TEST(DeviceCalibrated, TheSameInputGivesTheSameBytes) {
  PINION_SKIP_WITHOUT_DEVICE();
  for (const SyntheticForm& form : kForms) {
    std::vector<Bytes> frames[2];
    for (auto& of_run : frames) {
      SyntheticStream stream(form);
      Ends ends(stream.calibration(), 28);
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        const auto step = stream.next();
        of_run.push_back(encode_there(*ends.encoder, StepThere(step)).value().frame);
      }
    }
    EXPECT_EQ(frames[0], frames[1]) << name_of(form);
  }
}

TEST(DeviceCalibrated, ScalesAreWrittenWhereTheCalibratedOnesAreFarOff) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticStream stream({.rows = 800, .components = 24, .seed = 25});
  Calibration made = stream.calibration();
  for (CalibrationRecord& record : made.records) {
    for (std::size_t k = 0; k < record.levels.size(); ++k)
      record.levels[k] = static_cast<std::uint8_t>(record.levels[k] + (k % 2 == 0 ? 16 : -16));
  }
  Ends wrong(made, 25), right(stream.calibration(), 25);
  const auto step = stream.next();
  const StepThere step_there(step);
  const auto coded = encode_there(*wrong.encoder, step_there).value();
  const auto best = encode_there(*right.encoder, step_there).value();
  EXPECT_LT(coded.frame.size(), best.frame.size() + 60);
  const ParsedFrame parsed = parse_frame(coded.frame, kGenerous).value();
  EXPECT_TRUE(parse_calibrated(parsed, *wrong.calibration)->params.has_scales);
  EXPECT_EQ(indices_of(coded.frame, *wrong.calibration), indices_of(best.frame, *right.calibration));
}

TEST(DeviceCalibrated, ErrorsLeaveTheStreamAsItWas) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticStream stream({.seed = 16});
  Ends ends(stream.calibration(), 25);
  CalibratedDecoder here(ends.calibration);
  const auto first = stream.next(), second = stream.next(), third = stream.next();
  const StepThere first_there(first), second_there(second), third_there(third);
  const auto key = encode_there(*ends.encoder, first_there).value();
  ASSERT_TRUE(here.decode(key.frame, first.context(), kGenerous).ok());
  ASSERT_TRUE(decode_there(*ends.decoder, key.frame, first_there).ok());

  auto broken = second;
  std::vector<float> values(static_cast<std::size_t>(second.tensor.elements()));
  values[5] = std::numeric_limits<float>::quiet_NaN();
  broken.tensor = testing::tensor_of(DType::kF32, second.tensor.shape(), values);
  EXPECT_EQ(encode_there(*ends.encoder, StepThere(broken)).error().code, Errc::kInvalidArgument);
  broken = second;
  broken.latents[3] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(encode_there(*ends.encoder, StepThere(broken)).error().code, Errc::kInvalidArgument);

  const auto lost = encode_there(*ends.encoder, second_there).value();
  EXPECT_FALSE(lost.info.frame.key_frame);
  const auto orphan = encode_there(*ends.encoder, third_there).value();
  EXPECT_EQ(decode_there(*ends.decoder, orphan.frame, third_there).error().code, Errc::kNotFound);
  EXPECT_TRUE(decode_there(*ends.decoder, lost.frame, second_there).ok());
  EXPECT_TRUE(decode_there(*ends.decoder, orphan.frame, third_there).ok());
  ends.encoder->restart();
  EXPECT_TRUE(encode_there(*ends.encoder, third_there)->info.frame.key_frame);
}

TEST(DeviceCalibrated, TensorsWithoutRowsAndUnalignedOnes) {
  PINION_SKIP_WITHOUT_DEVICE();
  SyntheticStream stream({.rows = 50, .seed = 51});
  Ends ends(stream.calibration(), 25);
  CalibratedDecoder here(ends.calibration);
  auto step = stream.next(DType::kBF16);
  auto empty = step;
  empty.tensor = Tensor::empty(DType::kBF16, {0, 96});
  empty.latents.clear();
  SyntheticStream::Step none = empty;
  const testing::OnDevice nothing(none.tensor);
  const auto coded = ends.encoder->encode(nothing.view(), {1, std::nullopt, nullptr, nullptr, 1}, nullptr);
  ASSERT_TRUE(coded.ok()) << coded.error().message();
  const Bytes frame(ends.encoder->copy_to_host(nullptr)->begin(), ends.encoder->copy_to_host(nullptr)->end());
  EXPECT_TRUE(here.decode(frame, none.context(), kGenerous).ok());

  // Two bytes into an allocation: the projection cannot take the tensor as it lies.
  const testing::Room room(step.tensor.bytes() + 2);
  ASSERT_EQ(cudaMemcpy(room.span().data() + 2, step.tensor.view().data, step.tensor.bytes(),
                       cudaMemcpyHostToDevice),
            cudaSuccess);
  const StepThere there(step);
  TensorView shifted = there.tensor.view();
  shifted.data = room.span().data() + 2;
  const auto unaligned = ends.encoder->encode(shifted, there.context(), nullptr);
  ASSERT_TRUE(unaligned.ok()) << unaligned.error().message();
  const ByteSpan bytes = ends.encoder->copy_to_host(nullptr).value();
  EXPECT_TRUE(here.decode(bytes, step.context(), kGenerous).ok());
  EXPECT_NEAR(unaligned->predicted_output_snr_db, 25, 0.3);
}

}  // namespace
}  // namespace pinion::codec
