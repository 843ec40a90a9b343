// A budget that streams share.

#include "pinion/codec/calibrated/step_target.h"

#include <gtest/gtest.h>

#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/codec/step_stream.h"

namespace pinion::codec {
namespace {

using testing::kSyntheticSteps;
using testing::SyntheticForm;
using testing::SyntheticStream;

constexpr SyntheticForm kWide = {.rows = 1024, .components = 12, .seed = 51};
constexpr SyntheticForm kNarrow = {.rows = 1024, .components = 3, .deaf = 4, .kept = 0.5, .seed = 52};

TEST(StepTarget, ExpectsTheBitsThatAFrameTakes) {
  for (const double target : {25.0, 40.0}) {  // below, frames that say little take up to half more
    SyntheticStream stream(kWide);
    const auto calibration = testing::through_bytes(stream.calibration());
    auto encoder = CalibratedEncoder::create(calibration, {.output_snr_db = target}).value();
    for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
      const auto step = stream.next();
      const double expected =
          expected_bits({calibration, static_cast<std::int64_t>(kWide.rows)}, step.context(), target);
      const auto coded = encoder.encode(step.tensor, step.context()).value();
      EXPECT_NEAR(8.0 * static_cast<double>(coded.frame.size()) / expected, 1, 0.25) << target << ", " << t;
    }
  }
}

// Two streams that have little in common, as their encoders see them.
class TwoStreams : public ::testing::Test {
 protected:
  TwoStreams()
      : streams_{{testing::through_bytes(wide_.calibration()), 1024},
                 {testing::through_bytes(narrow_.calibration()), 1024}} {}

  struct Coded {
    double bytes = 0, error = 0;  // of all steps, the error in output energies
  };

  // Each frame coded for what `target_of(stream, context)` says.
  template <class TargetOf>
  Coded code(const TargetOf& target_of) {
    SyntheticStream wide(kWide), narrow(kNarrow);
    std::vector<CalibratedEncoder> encoders;
    for (const StepStream& stream : streams_) {
      encoders.push_back(CalibratedEncoder::create(stream.calibration, {}).value());
    }
    Coded sum;
    for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
      const auto first = wide.next(), second = narrow.next();
      for (std::size_t i = 0; i < 2; ++i) {
        const auto& step = i == 0 ? first : second;
        encoders[i].set_target(target_of(i, step.context()));
        const CalibratedStats stats = encoders[i].encode(step.tensor, step.context()).value().stats;
        sum.bytes += static_cast<double>(stats.frame_bytes);
        sum.error += std::pow(10, -stats.predicted_output_snr_db / 10) / kSyntheticSteps;
      }
    }
    return sum;
  }

  SyntheticStream wide_{kWide}, narrow_{kNarrow};
  std::vector<StepStream> streams_;
};

TEST_F(TwoStreams, MeetATargetTogetherForFewerBytesThanEqualOnes) {
  for (const double target : {25.0, 35.0, 45.0}) {
    SCOPED_TRACE(target);
    const Coded shared = code([&](std::size_t i, const StepContext& context) {
      return share_of({.output_snr_db = target}, streams_, i, context);
    });
    EXPECT_NEAR(-10 * std::log10(shared.error), target, 0.5);
    // As much error for each, and in all as much as was reached above.
    const CalibratedTarget half{.output_snr_db = -10 * std::log10(shared.error / 2)};
    const Coded equal = code([&](std::size_t, const StepContext&) { return half; });
    EXPECT_NEAR(equal.error / shared.error, 1, 0.05);
    EXPECT_LT(shared.bytes, equal.bytes);
  }
}

TEST_F(TwoStreams, ShareABudget) {
  for (const std::size_t budget : {1500u, 3000u, 8000u}) {
    SCOPED_TRACE(budget);
    const Coded coded = code([&](std::size_t i, const StepContext& context) {
      const auto share = [&](std::size_t stream) {
        return share_of({.frame_bytes = budget}, streams_, stream, context);
      };
      EXPECT_LE(share(0).frame_bytes + share(1).frame_bytes, budget);
      EXPECT_GE(share(0).frame_bytes + share(1).frame_bytes + 2, budget);
      return share(i);
    });
    const double of_budget = coded.bytes / static_cast<double>(budget * kSyntheticSteps);
    EXPECT_LT(of_budget, 1.06);
    EXPECT_GT(of_budget, 0.7);
  }
}

TEST_F(TwoStreams, AStreamAloneHasAll) {
  const std::vector<StepStream> alone = {streams_[1]};
  const auto step = narrow_.next();
  EXPECT_EQ(share_of({.frame_bytes = 777}, alone, 0, step.context()).frame_bytes, 777u);
  EXPECT_EQ(share_of({.output_snr_db = 33}, alone, 0, step.context()).output_snr_db, 33);
}

TEST_F(TwoStreams, SendersKnowTheirShare) {
  const BasisStore bases{std::filesystem::path()};
  const auto step = wide_.next();
  const auto coded_for = [&](std::vector<StepStream> streams) {
    StreamSender sender = StreamSender::create({.profile = {.mode = Mode::kCalibrated, .target_snr_db = 35},
                                                .calibration = streams_[0].calibration,
                                                .step_streams = std::move(streams),
                                                .place = {},
                                                .known_bases = {}},
                                               bases)
                              .value();
    return sender.encode(step.tensor, step.context()).value().stats.output_snr_db;
  };
  EXPECT_NEAR(coded_for({}), 35, 0.3);
  EXPECT_NEAR(coded_for(streams_), share_of({.output_snr_db = 35}, streams_, 0, step.context()).output_snr_db,
              0.3);
}

}  // namespace
}  // namespace pinion::codec
