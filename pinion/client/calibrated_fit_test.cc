// Which jobs calibrations refuse, and what they tell to do.

#include "pinion/client/calibrated_fit.h"

#include <gmock/gmock.h>

#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::client {
namespace {

using testing::HasSubstr;

RemotePlan plan_of(const std::vector<int>& cuts, int calibrated_cut, bool has_response) {
  RemotePlan plan;
  plan.picture_tensor = "image";
  for (std::size_t i = 0; i < cuts.size(); ++i)
    plan.stages.push_back({{}, cuts[i], i + 1 < cuts.size() ? cuts[i + 1] : 8});
  codec::testing::SyntheticStream stream({.has_response = has_response});
  codec::Calibration calibration = stream.calibration();
  calibration.key.cut = static_cast<std::uint32_t>(calibrated_cut);
  EXPECT_TRUE(plan.calibrations.add(codec::write_calibration(calibration)).ok());
  return plan;
}

constexpr WorkersCan kAll{.take_references = true, .take_responses = true};

TEST(CheckCalibrated, TakesWhatTheClientSendsAndCorrects) {
  EXPECT_TRUE(check_calibrated(plan_of({3}, 3, true), {}, kAll).ok());
  EXPECT_TRUE(check_calibrated(plan_of({3, 5}, 3, true), {}, kAll).ok());
  EXPECT_TRUE(check_calibrated(plan_of({3, 5}, 5, false), {}, kAll).ok());
}

TEST(CheckCalibrated, WhatWorkersSendNobodyCorrects) {
  const Result<void> refused = check_calibrated(plan_of({3, 5, 6}, 6, true), {}, kAll);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(refused.error().text, HasSubstr("cut 6"));
  EXPECT_THAT(refused.error().hint, HasSubstr("pinion calibrate --cut 3 --worker-cut 5,6`"));
  const Result<void> without_client = check_calibrated(plan_of({0, 5}, 5, true), {}, kAll);
  ASSERT_FALSE(without_client.ok());
  EXPECT_THAT(without_client.error().hint, HasSubstr("pinion calibrate --worker-cut 5`"));
}

TEST(CheckCalibrated, OldWorkersTakeNeitherReferencesNorResponses) {
  EXPECT_EQ(check_calibrated(plan_of({3}, 3, true), {}, {.take_references = true}).error().code,
            Errc::kUnsupported);
  EXPECT_TRUE(check_calibrated(plan_of({3}, 3, false), {}, {}).ok());
  RemoteConstants constants;
  constants.references = {{4, 4}, {2, 8}};
  EXPECT_TRUE(check_calibrated(plan_of({3}, 3, false), constants, {.take_references = true}).ok());
  const Result<void> refused = check_calibrated(plan_of({3}, 3, false), constants, {.take_responses = true});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text, HasSubstr("reference pictures"));
}

}  // namespace
}  // namespace pinion::client
