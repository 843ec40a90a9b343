// Calibrated coding on streams whose optimum is known: rates, predicted and measured SNR, what happens when
// something is missing.

#include "pinion/codec/calibrated/calibrated_codec.h"

#include <gtest/gtest.h>

#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/codec/indices/laplace_model.h"

namespace pinion::codec {
namespace {

using testing::kGenerous;
using testing::SyntheticForm;
using testing::SyntheticStream;

CalibratedEncoder encoder_for(const std::shared_ptr<const Calibration>& calibration, double snr_db,
                              std::size_t frame_bytes = 0) {
  return CalibratedEncoder::create(calibration, {.output_snr_db = snr_db, .frame_bytes = frame_bytes})
      .value();
}

TEST(CalibratedCodec, PredictedSnrIsWhatIsMeasuredAndWhatWasAsked) {
  for (const double target : {12.0, 25.0, 45.0}) {
    for (const bool has_history : {true, false}) {
      SyntheticStream stream({.has_history = has_history, .seed = 11});
      const auto calibration = testing::through_bytes(stream.calibration());
      auto encoder = encoder_for(calibration, target);
      CalibratedDecoder decoder(calibration);
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        SCOPED_TRACE(std::to_string(target) + " dB, step " + std::to_string(t));
        const auto step = stream.next();
        const CalibratedFrame coded = encoder.encode(step.tensor, step.context()).value();
        const Tensor decoded = decoder.decode(coded.frame, step.context(), kGenerous).value();
        const double measured = stream.measured_output_snr_db(step.tensor, decoded);
        EXPECT_NEAR(coded.stats.predicted_output_snr_db, measured, 0.1);
        EXPECT_NEAR(measured, target, 0.3);
        EXPECT_EQ(coded.stats.key_frame, t == 0);
        const FrameInfo info = inspect(coded.frame, kGenerous).value();
        EXPECT_EQ(info.mode, Mode::kCalibrated);
        EXPECT_EQ(info.basis_hash, to_hex(calibration->id));
        EXPECT_NEAR(info.output_snr_db, coded.stats.predicted_output_snr_db, 0.006);
        EXPECT_EQ(info.key_frame, t == 0 || !has_history);
      }
    }
  }
}

// Entropy-coded scalar quantisation at a fine step needs log2 of the deviation over the step, and 2.05 bits
// for the Gaussian density (here: of a sum of four uniform ones, which has 0.01 less).
TEST(CalibratedCodec, RateIsThatOfTheory) {
  const SyntheticForm form = {
      .rows = 4096, .channels = 24, .components = 4, .latents = 4, .deaf = 2, .seed = 12};
  SyntheticStream stream(form);
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 40);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    const auto step = stream.next();
    const CalibratedStats stats = encoder.encode(step.tensor, step.context()).value().stats;
    double expected = 0;
    for (std::size_t k = 0; k < form.components; ++k) {
      const double fresh = t == 0 ? 1 : std::sqrt(1 - form.kept * form.kept);
      // From the second step on the noise of the last one comes in: step^2 / 12 times kept^2.
      const double noise = t == 0 ? 0 : form.kept * form.kept * stats.step * stats.step / 12;
      const double variance = std::pow(fresh * testing::synthetic_deviation(k), 2) + noise;
      expected += 2.047 + 0.5 * std::log2(variance / (stats.step * stats.step));
    }
    expected *= static_cast<double>(form.rows);
    EXPECT_LT(stats.coded_bits, 1.015 * expected) << t;
    EXPECT_GT(stats.coded_bits, 0.985 * expected) << t;
    EXPECT_LT(8.0 * static_cast<double>(stats.frame_bytes), 1.03 * expected + 8 * 100) << t;
    // Histograms of their own suit the indices better than built-in tables, but not by much.
    EXPECT_LE(stats.ideal_index_bits, stats.coded_bits) << t;
    EXPECT_LT(8.0 * static_cast<double>(stats.frame_bytes), 1.04 * stats.ideal_index_bits) << t;
  }
}

TEST(CalibratedCodec, WhatIsNotHeardAndWhatIsKnownCostNothing) {
  SyntheticStream stream({.components = 4, .deaf = 40, .kept = 1, .seed = 13});
  Calibration made = stream.calibration();
  for (CalibrationRecord& record : made.records) {
    for (auto& level : record.history_levels) level = level_of(1e-3);
  }
  const auto calibration = testing::through_bytes(made);
  auto encoder = encoder_for(calibration, 30);
  const auto first = stream.next(), second = stream.next();
  const auto key = encoder.encode(first.tensor, first.context()).value().stats;
  const auto next = encoder.encode(second.tensor, second.context()).value().stats;
  EXPECT_GT(key.frame_bytes, 400u);
  // Nothing new but the step's noise, which the prediction carries on.
  EXPECT_LT(next.frame_bytes, 120u);
  EXPECT_GT(next.predicted_output_snr_db, 29.5);
}

TEST(CalibratedCodec, RowsThatAreHeardLessHaveCoarserSteps) {
  const SyntheticForm form = {.rows = 1024, .has_loudness = true, .seed = 26};
  SyntheticStream stream(form);
  const auto loud = testing::through_bytes(stream.calibration());
  Calibration alike = stream.calibration();
  alike.has_loudness = false;
  for (CalibrationRecord& record : alike.records) record.loudness.clear();
  const auto flat = testing::through_bytes(alike);
  auto encoder = encoder_for(loud, 25);
  CalibratedDecoder decoder(loud), flat_decoder(flat);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    SCOPED_TRACE(t);
    const auto step = stream.next();
    const CalibratedFrame coded = encoder.encode(step.tensor, step.context()).value();
    const Tensor decoded = decoder.decode(coded.frame, step.context(), kGenerous).value();
    const double measured = stream.measured_output_snr_db(step.tensor, decoded);
    EXPECT_NEAR(coded.stats.predicted_output_snr_db, measured, 0.1);
    EXPECT_NEAR(measured, 25, 0.3);
    if (t > 0) continue;
    // One step for all rows, at the same error of the output: the mean row has a loudness of
    // (1 + 1/8 + 1/64 + 1/512) / 4 = 2^-1.81.
    auto flat_encoder = encoder_for(flat, measured - 10 * std::log10(std::exp2(1.81)));
    const CalibratedFrame whole = flat_encoder.encode(step.tensor, step.context()).value();
    const Tensor whole_decoded = flat_decoder.decode(whole.frame, step.context(), kGenerous).value();
    EXPECT_NEAR(stream.measured_output_snr_db(step.tensor, whole_decoded), measured, 0.6);
    EXPECT_LT(coded.stats.coded_bits, 0.8 * whole.stats.coded_bits);
  }
}

TEST(CalibratedCodec, KeepsABudget) {
  for (const std::size_t budget : {600u, 1200u, 3000u}) {
    SyntheticStream stream({.rows = 1024, .seed = 14});
    const auto calibration = testing::through_bytes(stream.calibration());
    auto encoder = encoder_for(calibration, 0, budget);
    for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
      const auto step = stream.next();
      const auto size =
          static_cast<double>(encoder.encode(step.tensor, step.context()).value().stats.frame_bytes);
      EXPECT_LT(size, 1.06 * static_cast<double>(budget)) << budget << ", step " << t;
      EXPECT_GT(size, 0.7 * static_cast<double>(budget)) << budget << ", step " << t;
    }
  }
}

TEST(CalibratedCodec, MeetsTheTargetWhereTheCalibrationIsWrong) {
  SyntheticStream stream({.seed = 15});
  Calibration made = stream.calibration();
  for (CalibrationRecord& record : made.records) {
    for (auto& level : record.levels) level = static_cast<std::uint8_t>(level - 9);
    for (auto& level : record.history_levels) level = static_cast<std::uint8_t>(level + 7);
  }
  auto wrong = encoder_for(testing::through_bytes(made), 25);
  auto right = encoder_for(testing::through_bytes(stream.calibration()), 25);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    const auto step = stream.next();
    const auto stats = wrong.encode(step.tensor, step.context()).value().stats;
    EXPECT_NEAR(stats.predicted_output_snr_db, 25, 0.3);
    // One offset for all tables repairs a deviation that is off by the same factor everywhere.
    const auto best = right.encode(step.tensor, step.context()).value().stats;
    EXPECT_LT(stats.coded_bits, 1.04 * best.coded_bits);
  }
}

TEST(CalibratedCodec, ScalesAreWrittenWhereTheCalibratedOnesAreFarOff) {
  SyntheticStream stream({.seed = 25});
  Calibration made = stream.calibration();
  for (CalibrationRecord& record : made.records) {
    for (std::size_t k = 0; k < record.levels.size(); ++k) {
      record.levels[k] =
          static_cast<std::uint8_t>(k % 2 == 0 ? record.levels[k] + 16 : record.levels[k] - 16);
    }
  }
  const auto wrong = testing::through_bytes(made);
  auto encoder = encoder_for(wrong, 25), best = encoder_for(testing::through_bytes(stream.calibration()), 25);
  const auto step = stream.next();
  const auto coded = encoder.encode(step.tensor, step.context()).value();
  const Tensor decoded = CalibratedDecoder(wrong).decode(coded.frame, step.context(), kGenerous).value();
  EXPECT_NEAR(stream.measured_output_snr_db(step.tensor, decoded), 25, 0.3);
  // Eight scales at up to two bytes each.
  EXPECT_LT(coded.frame.size(), best.encode(step.tensor, step.context())->frame.size() + 16);
}

TEST(CalibratedCodec, ALostFrameIsNoticedAndARestartRepairsIt) {
  SyntheticStream stream({.seed = 16});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 25);
  CalibratedDecoder decoder(calibration);
  const auto first = stream.next(), second = stream.next(), third = stream.next();
  ASSERT_TRUE(
      decoder.decode(encoder.encode(first.tensor, first.context())->frame, first.context(), kGenerous).ok());
  const auto lost = encoder.encode(second.tensor, second.context());
  const auto orphan = encoder.encode(third.tensor, third.context()).value();
  const auto refused = decoder.decode(orphan.frame, third.context(), kGenerous);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotFound);
  encoder.restart();
  const auto key = encoder.encode(third.tensor, third.context()).value();
  EXPECT_TRUE(key.stats.key_frame);
  EXPECT_GT(key.frame.size(), orphan.frame.size());
  const Tensor decoded = decoder.decode(key.frame, third.context(), kGenerous).value();
  EXPECT_NEAR(stream.measured_output_snr_db(third.tensor, decoded), 25, 0.3);
}

TEST(CalibratedCodec, LatentsOfTheStepBeforeMayBeMissing) {
  SyntheticStream stream({.has_history = false, .seed = 17});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 25);
  CalibratedDecoder decoder(calibration);
  stream.next();
  const auto step = stream.next();
  StepContext blind = step.context();
  blind.previous_latents = {};
  EXPECT_TRUE(encoder.encode(step.tensor, blind)->stats.key_frame);
  const auto coded = encoder.encode(step.tensor, step.context()).value();
  EXPECT_FALSE(coded.stats.key_frame);
  const auto refused = decoder.decode(coded.frame, blind, kGenerous);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotFound);
  EXPECT_TRUE(decoder.decode(coded.frame, step.context(), kGenerous).ok());
}

TEST(CalibratedCodec, StreamsWithoutLatentsPredictFromTheirState) {
  SyntheticStream stream({.latents = 0, .seed = 18});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 30);
  CalibratedDecoder decoder(calibration);
  std::vector<std::size_t> sizes;
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    const auto step = stream.next();
    const auto coded = encoder.encode(step.tensor, step.context()).value();
    const Tensor decoded = decoder.decode(coded.frame, step.context(), kGenerous).value();
    EXPECT_NEAR(stream.measured_output_snr_db(step.tensor, decoded), 30, 0.3);
    sizes.push_back(coded.frame.size());
  }
  EXPECT_LT(sizes[1], 0.85 * static_cast<double>(sizes[0]));
}

TEST(CalibratedCodec, AnotherCalibrationIsRefused) {
  SyntheticStream stream({.seed = 19});
  Calibration made = stream.calibration();
  const auto calibration = testing::through_bytes(made);
  made.records[0].gain[0] = 2;
  CalibratedDecoder other(testing::through_bytes(made));
  const auto step = stream.next();
  auto encoder = encoder_for(calibration, 20);
  const auto coded = encoder.encode(step.tensor, step.context()).value();
  const auto refused = other.decode(coded.frame, step.context(), kGenerous);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNotFound);
  const auto alone = Decoder::create()->decode(coded.frame, kGenerous);
  ASSERT_FALSE(alone.ok());
  EXPECT_EQ(alone.error().code, Errc::kUnsupported);
}

TEST(CalibratedCodec, EncodesTheSameTwice) {
  const SyntheticForm form = {.seed = 20};
  SyntheticStream stream(form);
  const auto calibration = testing::through_bytes(stream.calibration());
  auto a = encoder_for(calibration, 22), b = encoder_for(calibration, 22);
  for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
    const auto step = stream.next(DType::kBF16);
    EXPECT_EQ(a.encode(step.tensor, step.context())->frame, b.encode(step.tensor, step.context())->frame);
  }
}

TEST(CalibratedCodec, SchedulesThatWereNotCalibratedFallBetweenTheRecords) {
  SyntheticStream stream({.seed = 21});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 25);
  CalibratedDecoder decoder(calibration);
  auto step = stream.next();
  for (const float sigma : {1.0f, 0.97f, 0.75f, 0.4f, 0.0f}) {
    step.sigma = sigma;
    encoder.restart();
    const auto coded = encoder.encode(step.tensor, step.context()).value();
    const Tensor decoded = decoder.decode(coded.frame, step.context(), kGenerous).value();
    EXPECT_NEAR(stream.measured_output_snr_db(step.tensor, decoded), 25, 0.3) << sigma;
  }
}

// Decoders may differ in the last bits of a prediction. The difference breaks nothing, and it stays within
// 1 / (1 - kept) times that of one step.
TEST(CalibratedCodec, ADifferenceInTheLatentsStaysSmall) {
  SyntheticStream stream({.seed = 22});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 50);
  CalibratedDecoder exact(calibration), rough(calibration);
  auto step = stream.next();
  double first = 0;
  for (int t = 0; t < 30; ++t) {
    const auto coded = encoder.encode(step.tensor, step.context()).value();
    const Tensor decoded = exact.decode(coded.frame, step.context(), kGenerous).value();
    auto shaken = step;
    for (std::size_t i = 0; i < shaken.latents.size(); ++i) shaken.latents[i] *= i % 2 ? 1.00001f : 0.99999f;
    const Tensor other = rough.decode(coded.frame, shaken.context(), kGenerous).value();
    const double alike = stream.measured_output_snr_db(decoded, other);
    if (t == 0) first = alike;
    EXPECT_GT(alike, first - 20.5) << t;
    step.previous_latents = step.latents;
    step.previous_sigma = 0.75f;
    step.sigma = 0.5f;
  }
}

TEST(CalibratedCodec, RefusesWhatDoesNotFit) {
  SyntheticStream stream({.rows = 4, .channels = 24, .components = 3, .latents = 2, .deaf = 1, .seed = 23});
  const auto calibration = testing::through_bytes(stream.calibration());
  EXPECT_FALSE(CalibratedEncoder::create(calibration, {.output_snr_db = 0}).ok());
  auto encoder = encoder_for(calibration, 20);
  const auto step = stream.next();
  const auto code_of = [&](const Tensor& tensor, const StepContext& context) {
    const auto coded = encoder.encode(tensor, context);
    return coded.ok() ? std::optional<Errc>() : coded.error().code;
  };
  EXPECT_EQ(code_of(step.tensor, step.context()), std::nullopt);
  StepContext context = step.context();
  context.latents = context.latents.first(7);
  EXPECT_EQ(code_of(step.tensor, context), Errc::kInvalidArgument);
  context = step.context();
  context.sigma = std::nanf("");
  EXPECT_EQ(code_of(step.tensor, context), Errc::kInvalidArgument);
  context = step.context();
  context.output_rows = 0;
  EXPECT_EQ(code_of(step.tensor, context), Errc::kInvalidArgument);
  std::vector<float> values(4 * 24, 1.0f);
  EXPECT_EQ(code_of(testing::tensor_of(DType::kF32, {2, 48}, values), step.context()),
            Errc::kInvalidArgument);
  values[5] = std::nanf("");
  EXPECT_EQ(code_of(testing::tensor_of(DType::kF32, {4, 24}, values), step.context()),
            Errc::kInvalidArgument);
  EXPECT_EQ(code_of(Tensor::empty(DType::kI8, {4, 24}), step.context()), Errc::kInvalidArgument);
  auto bad = step;
  bad.latents[1] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code_of(bad.tensor, bad.context()), Errc::kInvalidArgument);
}

TEST(CalibratedCodec, CodesEmptyTensors) {
  SyntheticStream stream({.rows = 4, .channels = 24, .components = 3, .latents = 2, .deaf = 1, .seed = 24});
  const auto calibration = testing::through_bytes(stream.calibration());
  auto encoder = encoder_for(calibration, 20);
  StepContext context;
  context.output_rows = 1;
  const auto coded = encoder.encode(Tensor::empty(DType::kF16, {0, 24}), context).value();
  EXPECT_EQ(CalibratedDecoder(calibration).decode(coded.frame, context, kGenerous)->shape(), Shape({0, 24}));
}

// Against sums over a fine grid.
TEST(LaplaceModel, AgreesWithIntegration) {
  for (const double deviation : {0.05, 0.2, 0.5, 1.0, 3.0, 20.0, 40.0}) {
    const double rate = std::sqrt(2.0) / deviation, width = 1e-3;
    double error = 0, bits = 0, bin = 0;
    for (long i = 0; i < static_cast<long>(40 * (1 + deviation) / width); ++i) {
      const double x = (static_cast<double>(i) + 0.5) * width;
      const double mass =
          std::exp(-rate * (x - width / 2)) - std::exp(-rate * (x + width / 2));  // both signs
      error += mass * std::pow(x - std::round(x), 2);
      bin += mass;
      const bool ends = std::round(x) != std::round(x + width);
      if (!ends || bin <= 0) continue;
      const double one = x < 1 ? bin : bin / 2;
      bits -= bin * std::log2(one);
      bin = 0;
    }
    EXPECT_NEAR(laplace_error(deviation), error, 1e-3 * error + 1e-6) << deviation;
    EXPECT_NEAR(laplace_bits(deviation), bits, 2e-3 * bits + 1e-5) << deviation;
  }
}

TEST(CalibratedCodec, ThreadsChangeNothing) {
  for (const bool has_loudness : {false, true}) {
    // More rows than a block has, and not a multiple of anything.
    const SyntheticForm form = {.rows = 397, .components = 24, .has_loudness = has_loudness, .seed = 41};
    const auto run = [&](int threads) {
      SyntheticStream stream(form);
      const auto calibration = testing::through_bytes(stream.calibration());
      auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = 30}, threads).value();
      CalibratedDecoder decoder(calibration, threads);
      Bytes all;
      for (std::size_t t = 0; t < testing::kSyntheticSteps; ++t) {
        const auto step = stream.next(DType::kBF16);
        const Bytes frame = encoder.encode(step.tensor, step.context()).value().frame;
        const Tensor decoded = decoder.decode(frame, step.context(), kGenerous).value();
        all.insert(all.end(), frame.begin(), frame.end());
        const ByteSpan bytes = decoded.view().span();
        all.insert(all.end(), bytes.begin(), bytes.end());
      }
      return all;
    };
    const Bytes alone = run(1);
    EXPECT_EQ(run(2), alone);
    EXPECT_EQ(run(5), alone);
  }
}

}  // namespace
}  // namespace pinion::codec
