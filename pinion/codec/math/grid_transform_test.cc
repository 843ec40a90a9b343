// The cosine transform of token grids.

#include "pinion/codec/math/grid_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

std::vector<float> noise(std::size_t count, std::uint32_t seed) {
  testing::Dice dice(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(dice.normal());
  return values;
}

double energy_of(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

// What docs/format.md §12.7 says of one tile, in double precision and without any order to speak of.
std::vector<double> restored_by_definition(std::span<const float> coefficients, std::size_t h,
                                           std::size_t w) {
  const auto t = [](std::size_t n, std::size_t k, std::size_t i) {
    return std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(n)) *
           std::cos(std::numbers::pi * static_cast<double>((2 * i + 1) * k) / static_cast<double>(2 * n));
  };
  std::vector<double> values(h * w);
  for (std::size_t i = 0; i < h; ++i) {
    for (std::size_t j = 0; j < w; ++j) {
      for (std::size_t u = 0; u < h; ++u) {
        for (std::size_t v = 0; v < w; ++v) {
          values[i * w + j] += static_cast<double>(coefficients[u * w + v]) * t(h, u, i) * t(w, v, j);
        }
      }
    }
  }
  return values;
}

TEST(GridTransform, IsTheOneOfTheFormat) {
  for (const TokenGrid grid :
       {TokenGrid{8, 8}, TokenGrid{3, 8}, TokenGrid{8, 5}, TokenGrid{1, 7}, TokenGrid{1, 1}}) {
    std::vector<float> values = noise(grid.tokens(), 3);
    const std::vector<double> expected = restored_by_definition(values, grid.lines, grid.columns);
    restore_grid(grid, values);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 3e-6);
  }
}

TEST(GridTransform, KeepsEnergyAndComesBack) {
  for (const TokenGrid grid : {TokenGrid{16, 16}, TokenGrid{9, 21}, TokenGrid{64, 48}, TokenGrid{5, 1}}) {
    const std::vector<float> original = noise(3 * grid.tokens(), 4);  // three pictures
    std::vector<float> values = original;
    transform_grid(grid, values);
    EXPECT_NEAR(energy_of(values) / energy_of(original), 1, 1e-5);
    restore_grid(grid, values);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], original[i], 5e-6);
  }
}

TEST(GridTransform, PicturesAndTilesDoNotMix) {
  const TokenGrid grid{16, 16};
  std::vector<float> one(2 * grid.tokens());
  one[grid.tokens() + 8 * 16 + 8] = 1;  // in the last tile of the second picture
  transform_grid(grid, one);
  for (std::size_t i = 0; i < one.size(); ++i) {
    const std::size_t in_picture = i % grid.tokens();
    const bool is_there = i >= grid.tokens() && in_picture / 16 >= 8 && in_picture % 16 >= 8;
    EXPECT_EQ(one[i] != 0, is_there) << i;
  }
}

TEST(GridTransform, ClassesRiseWithFrequency) {
  const std::vector<std::uint8_t> whole = frequency_classes({8, 8}, 64);
  EXPECT_EQ(whole[0], 0);
  EXPECT_EQ(whole[1], 1);
  EXPECT_EQ(whole[8], 1);
  EXPECT_EQ(whole[2 * 8 + 3], 4);
  EXPECT_EQ(whole[63], 7);
  // A tile of one line and four columns: frequencies 0, 2, 4 and 6 of 8.
  EXPECT_EQ(frequency_classes({1, 4}, 4), (std::vector<std::uint8_t>{0, 2, 4, 5}));
}

TEST(GridTransform, KnowsWholePictures) {
  EXPECT_TRUE(is_whole_pictures(48, {4, 6}));
  EXPECT_FALSE(is_whole_pictures(47, {4, 6}));
  EXPECT_FALSE(is_whole_pictures(0, {4, 6}));
  EXPECT_FALSE(is_whole_pictures(48, {0, 6}));
  EXPECT_FALSE(is_whole_pictures(48, {std::size_t{1} << 63, 2}));  // whose product is 0
  EXPECT_FALSE(is_whole_pictures(48, {0x10000, 1}));
}

}  // namespace
}  // namespace pinion::codec
