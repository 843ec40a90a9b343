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

TEST(StepTarget, SharesAddUpAndCostTheOutputAboutEqually) {
  for (const std::size_t budget : {1500u, 3000u, 8000u}) {
    SyntheticStream wide(kWide), narrow(kNarrow);
    const std::vector<StepStream> streams = {{testing::through_bytes(wide.calibration()), 1024},
                                               {testing::through_bytes(narrow.calibration()), 1024}};
    const BasisStore bases{std::filesystem::path()};
    const auto sender = [&](std::size_t i) {
      return StreamSender::create({.profile = {.mode = Mode::kCalibrated, .budget_bytes = budget},
                                   .calibration = streams[i].calibration,
                                   .step_streams = streams,
                                   .place = {},
                                   .known_bases = {}},
                                  bases)
          .value();
    };
    StreamSender of_wide = sender(0), of_narrow = sender(1);
    for (std::size_t t = 0; t < kSyntheticSteps; ++t) {
      SCOPED_TRACE(std::to_string(budget) + " bytes, step " + std::to_string(t));
      const auto one = wide.next(), other = narrow.next();
      const std::size_t shares =
          share_of({.frame_bytes = budget}, streams, 0, one.context()).frame_bytes +
          share_of({.frame_bytes = budget}, streams, 1, other.context()).frame_bytes;
      EXPECT_LE(shares, budget);
      EXPECT_GE(shares + 2, budget);
      const FrameStats first = of_wide.encode(one.tensor, one.context()).value().stats;
      const FrameStats second = of_narrow.encode(other.tensor, other.context()).value().stats;
      const auto sum = static_cast<double>(first.frame_bytes + second.frame_bytes);
      EXPECT_LT(sum, 1.06 * static_cast<double>(budget));
      EXPECT_GT(sum, 0.7 * static_cast<double>(budget));
      EXPECT_NEAR(first.output_snr_db, second.output_snr_db, 2.5);
    }
  }
}

TEST(StepTarget, AStreamAloneHasAll) {
  SyntheticStream stream(kNarrow);
  const std::vector<StepStream> alone = {{testing::through_bytes(stream.calibration()), 1024}};
  EXPECT_EQ(share_of({.frame_bytes = 777}, alone, 0, stream.next().context()).frame_bytes, 777u);
}

}  // namespace
}  // namespace pinion::codec
