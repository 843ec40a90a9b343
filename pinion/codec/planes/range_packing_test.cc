#include "pinion/codec/planes/range_packing.h"

#include <gtest/gtest.h>

#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/planes/planes_testing.h"

namespace pinion::codec {
namespace {

using testing::scaled_noise;
using testing::tensor_of;

void expect_within_half_a_step(const std::vector<float>& values, const RangePacking& packing) {
  const RangePictures packed = pack_ranges(tensor_of(values, packing.grid), packing).value();
  const std::vector<float> out = floats_of(unpack_ranges(packed.pictures, packed.ranges, packing).value());
  ASSERT_EQ(out.size(), values.size());
  const std::size_t channels = packed.ranges.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const ChannelRange& range = packed.ranges[i % channels];
    const double magnitude = std::max(std::fabs(range.low), std::fabs(range.high));
    ASSERT_GE(values[i], range.low);
    ASSERT_LE(values[i], range.high);
    ASSERT_LE(std::fabs(static_cast<double>(out[i]) - values[i]),
              range.step() / 2 + testing::rounding(magnitude))
        << "element " << i;
  }
}

TEST(RangePacking, EveryElementWithinHalfAStep) {
  unsigned seed = 1;
  for (const std::size_t tiles : {1u, 2u, 4u, 8u}) {
    for (const PlanePadding padding : {PlanePadding::kLean, PlanePadding::kHardware}) {
      for (const TokenGrid grid : {TokenGrid{1, 1}, TokenGrid{1, 37}, TokenGrid{9, 5}, TokenGrid{16, 24}}) {
        for (const std::size_t channels : {1u, 63u, 200u}) {
          expect_within_half_a_step(scaled_noise(grid.tokens(), channels, ++seed), {grid, tiles, padding});
        }
      }
    }
  }
}

TEST(RangePacking, ConstantChannelsComeBackNearlyExact) {
  const TokenGrid grid{4, 4};
  std::vector<float> values(grid.tokens() * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::array{0.0f, 0.1f, -3.0f}[i % 3];
  const RangePacking packing{.grid = grid};
  const RangePictures packed = pack_ranges(tensor_of(values, grid), packing).value();
  EXPECT_EQ(packed.ranges[0], (ChannelRange{0, 0}));
  EXPECT_EQ(packed.ranges[2], (ChannelRange{-3, -3}));
  expect_within_half_a_step(values, packing);
}

TEST(RangePacking, HugeOutliersKeepTheBoundAndRangesInFloat32) {
  const TokenGrid grid{5, 8};
  std::vector<float> values = scaled_noise(grid.tokens(), 7, 3);
  values[3] = std::numeric_limits<float>::max();
  values[10] = std::numeric_limits<float>::lowest();
  values[20] = 1e9f;
  values[27] = -70000;
  expect_within_half_a_step(values, {.grid = grid});
}

TEST(RangePacking, RangesAreFloat16WhereTheyFitAndNeverTooNarrow) {
  const TokenGrid grid{2, 3};
  const std::vector<float> values{65504, -65504, 1e-9f, -1e-9f, 1.0001f, -1.0001f};
  const RangePictures packed = pack_ranges(tensor_of(values, grid), {.grid = grid}).value();
  for (const float end : {packed.ranges[0].low, packed.ranges[0].high})
    EXPECT_EQ(f16_to_float(float_to_f16(end)), end);
  for (const float value : values) expect_within_half_a_step(std::vector<float>(6, value), {.grid = grid});
}

TEST(RangePacking, UnusedTilesAreGreyOrRepeatTheLastChannel) {
  const TokenGrid grid{4, 8};
  const std::vector<float> values = scaled_noise(grid.tokens(), 1, 5);
  const auto last_sample = [&](PlanePadding padding) {
    const Tensor pictures = pack_ranges(tensor_of(values, grid), {grid, 8, padding})->pictures;
    return static_cast<int>(pictures.view().data[pictures.bytes() - 1]);
  };
  EXPECT_EQ(last_sample(PlanePadding::kLean), kGreyLevel);
  const auto packed = pack_ranges(tensor_of(values, grid), {grid, 8, PlanePadding::kHardware}).value();
  const auto last_token = static_cast<std::size_t>(3 * packed.pictures.shape()[3] + 7);
  EXPECT_EQ(last_sample(PlanePadding::kHardware), static_cast<int>(packed.pictures.view().data[last_token]));
}

TEST(RangePacking, RefusesNaNInfinityAndWhatDoesNotFitTogether) {
  const TokenGrid grid{3, 4};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values = scaled_noise(grid.tokens(), 5, 8);
    values[31] = bad;
    const auto packed = pack_ranges(tensor_of(values, grid), {.grid = grid});
    ASSERT_FALSE(packed.ok());
    EXPECT_EQ(packed.error().code, Errc::kInvalidArgument);
    EXPECT_NE(packed.error().text.find("token 6, channel 1"), std::string::npos) << packed.error().text;
  }
  const Tensor tensor = tensor_of(scaled_noise(grid.tokens(), 5, 8), grid);
  EXPECT_FALSE(pack_ranges(tensor, {.grid = {4, 4}}).ok());
  EXPECT_FALSE(pack_ranges(tensor, {.grid = grid, .tiles_per_side = 5}).ok());
  EXPECT_FALSE(pack_ranges(tensor.reshaped({60}), {.grid = grid}).ok());
  EXPECT_FALSE(pack_ranges(Tensor::empty(DType::kI32, {12, 5}), {.grid = grid}).ok());
  EXPECT_FALSE(pack_ranges(Tensor::empty(DType::kF32, {12, 0}), {.grid = grid}).ok());
}

TEST(RangePacking, UnpackRefusesHostileRangesAndPictures) {
  const RangePacking packing{.grid = {3, 4}};
  RangePictures packed = pack_ranges(tensor_of(scaled_noise(12, 5, 8), packing.grid), packing).value();
  const auto code = [&](const TensorView& pictures, std::vector<ChannelRange> ranges) {
    return unpack_ranges(pictures, ranges, packing).error().code;
  };
  std::vector<ChannelRange> upside_down = packed.ranges, infinite = packed.ranges;
  std::swap(upside_down[2].low, upside_down[2].high);
  infinite[4].high = std::numeric_limits<float>::infinity();
  EXPECT_EQ(code(packed.pictures, upside_down), Errc::kBadFormat);
  EXPECT_EQ(code(packed.pictures, infinite), Errc::kBadFormat);
  EXPECT_EQ(code(packed.pictures, std::vector<ChannelRange>(193)), Errc::kBadFormat);
  EXPECT_EQ(code(packed.pictures, {}), Errc::kBadFormat);
  EXPECT_EQ(code(Tensor::empty(DType::kU8, {1, 3, 144, 160}), packed.ranges), Errc::kBadFormat);
  EXPECT_EQ(code(Tensor::empty(DType::kI8, packed.pictures.shape()), packed.ranges), Errc::kBadFormat);
}

}  // namespace
}  // namespace pinion::codec
