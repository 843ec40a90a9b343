// The pieces of docs/format.md §12 by themselves: places in the schedule, blended records, table classes,
// states.

#include "pinion/codec/calibrated/calibrated_format.h"

#include <gtest/gtest.h>

#include "pinion/codec/calibrated/calibration_testing.h"

namespace pinion::codec {
namespace {

using testing::SyntheticStream;

// Records at sigma 1, .75, .5, .25 whose numbers tell them apart.
Calibration marked() {
  Calibration calibration =
      SyntheticStream({.channels = 8, .components = 2, .latents = 1, .deaf = 0}).calibration();
  for (std::size_t i = 0; i < calibration.records.size(); ++i) {
    CalibrationRecord& record = calibration.records[i];
    const auto mark = static_cast<float>(8 * i);
    record.mean.assign(8, mark);
    record.latent_mean = {mark + 1};
    record.change_mean = {mark + 2};
    record.gain = {mark + 3, mark + 4};
    record.floor = mark + 5;
    record.output_energy = mark + 6;
    std::fill(record.latents_alone.values.begin(), record.latents_alone.values.end(), mark + 7);
    std::fill(record.history.values.begin(), record.history.values.end(), mark + 8);
    record.levels.assign(2, static_cast<std::uint8_t>(100 + 3 * i));
    record.history_levels.assign(2, static_cast<std::uint8_t>(80 + 2 * i));
  }
  return calibration;
}

TEST(CalibratedFormat, SigmasHaveAPlaceInTheSchedule) {
  const Calibration calibration = marked();
  EXPECT_EQ(schedule_position(calibration, 1.0f), 0);
  EXPECT_EQ(schedule_position(calibration, 0.75f), 256);
  EXPECT_EQ(schedule_position(calibration, 0.875f), 128);
  EXPECT_EQ(schedule_position(calibration, 0.5f - 0.25f / 1024), 512);
  EXPECT_EQ(schedule_position(calibration, 0.25f + 0.25f / 1024), 768);
  EXPECT_EQ(schedule_position(calibration, 0.0f), 768);
}

TEST(CalibratedFormat, RecordsAreBlended) {
  const Calibration calibration = marked();
  const auto at = [&](std::uint16_t position, CalibratedPredictor predictor) {
    RecordAt record;
    record_at(calibration, position, predictor, record);
    EXPECT_EQ(record.levels, levels_at(calibration, position, predictor));
    return record;
  };
  const RecordAt exact = at(256, CalibratedPredictor::kLatentsAlone);
  EXPECT_EQ(exact.mean[0], 8);
  EXPECT_EQ(exact.prediction.rows, 1u);
  EXPECT_EQ(exact.prediction.values[0], 15);
  EXPECT_EQ(exact.levels, (std::vector<std::uint8_t>{103, 103}));
  const RecordAt between = at(256 + 64, CalibratedPredictor::kHistory);
  EXPECT_EQ(between.mean[7], 10);
  EXPECT_EQ(between.latent_mean[0], 11);
  EXPECT_EQ(between.change_mean[0], 12);
  EXPECT_EQ(between.gain[1], 14);
  EXPECT_EQ(between.floor, 15);
  EXPECT_EQ(between.output_energy, 16);
  EXPECT_EQ(between.prediction.rows, 4u);
  EXPECT_EQ(between.prediction.values[5], 18);
  // 82 + 2 * 64 / 256 = 82.5, rounded up.
  EXPECT_EQ(between.levels, (std::vector<std::uint8_t>{83, 83}));
  EXPECT_EQ(at(256 + 63, CalibratedPredictor::kHistory).levels[0], 82);
  EXPECT_EQ(at(768, CalibratedPredictor::kHistory).mean[0], 24);
}

TEST(CalibratedFormat, ScalesFollowFromLevelAndStep) {
  const std::vector<std::uint8_t> levels = {0, 100, 128, 136, 255};
  CalibratedParams params;
  params.shapes = {.rare = 1, .wide = 2};
  // A deviation of one step has scale 13; an octave is 4.
  EXPECT_EQ(component_classes(levels, params).scales, (std::vector<std::uint8_t>{0, 0, 13, 17, 77}));
  params.step_log2 = -64;
  EXPECT_EQ(component_classes(levels, params).scales, (std::vector<std::uint8_t>{0, 3, 17, 21, 81}));
  params.scale_offset = -18;
  EXPECT_EQ(component_classes(levels, params).scales, (std::vector<std::uint8_t>{0, 0, 0, 3, 63}));
  params.step_log2 = kMinStepLog2;
  params.scale_offset = 127;
  const auto most = static_cast<std::uint8_t>(max_scale(2));
  EXPECT_EQ(component_classes(levels, params).scales,
            (std::vector<std::uint8_t>{most, most, most, most, most}));
}

TEST(CalibratedFormat, StatesStayInRange) {
  Matrix state(1, 5);
  const float infinity = std::numeric_limits<float>::infinity();
  state.values = {1.5f, infinity, -infinity, std::nanf(""), 3e38f};
  const std::vector<std::int32_t> indices = {-3, 0, 0, 0, 1 << 20};
  CalibratedParams params;
  params.step_log2 = -kStepsPerOctave;
  ChunkPool alone;
  advance_components(params, RowBands(5), indices, alone, state);
  EXPECT_EQ(state.values, (std::vector<float>{0, 0x1p60f, -0x1p60f, 0, 0x1p60f}));
}

}  // namespace
}  // namespace pinion::codec
