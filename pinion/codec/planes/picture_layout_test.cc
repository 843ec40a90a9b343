#include "pinion/codec/planes/picture_layout.h"

#include <gtest/gtest.h>

#include <set>

namespace pinion::codec {
namespace {

// Every slot has a tile of its own inside the used part of its plane.
void expect_tiles_apart(const PictureLayout& layout, std::size_t slots) {
  std::set<std::array<std::size_t, 4>> taken;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const TilePlace place = layout.place(slot);
    ASSERT_LT(place.picture, layout.pictures(slots));
    ASSERT_LT(place.plane, layout.planes);
    ASSERT_EQ(place.row % layout.grid.lines, 0u);
    ASSERT_EQ(place.column % layout.grid.columns, 0u);
    ASSERT_LE(place.row + layout.grid.lines, layout.used_height());
    ASSERT_LE(place.column + layout.grid.columns, layout.used_width());
    ASSERT_TRUE(taken.insert({place.picture, place.plane, place.row, place.column}).second);
  }
}

TEST(PictureLayout, SquarestGridAsOthersChooseIt) {
  EXPECT_EQ(squarest_grid(4096), (TokenGrid{64, 64}));
  EXPECT_EQ(squarest_grid(48 * 96), (TokenGrid{64, 72}));
  EXPECT_EQ(squarest_grid(509), (TokenGrid{1, 509}));
  EXPECT_EQ(squarest_grid(0), (TokenGrid{0, 0}));
}

TEST(PictureLayout, RangesOf4096ChannelsFill22PicturesOf512) {
  const PictureLayout layout = range_layout({64, 64}, 8, PlanePadding::kHardware).value();
  EXPECT_EQ(layout.pictures_shape(4096), (Shape{22, 3, 512, 512}));
  expect_tiles_apart(layout, 4096);
  EXPECT_EQ(range_layout({64, 64}, 4, PlanePadding::kHardware)->pictures_shape(4096),
            (Shape{86, 3, 256, 256}));
  EXPECT_EQ(range_layout({64, 64}, 1, PlanePadding::kHardware)->pictures_shape(4096),
            (Shape{1366, 3, 144, 144}));
}

TEST(PictureLayout, ComponentsShareOnePictureWhileItMayBeLargeEnough) {
  EXPECT_EQ(component_layout({64, 64}, 4096)->pictures_shape(4096), (Shape{1, 1, 4096, 4096}));
  EXPECT_EQ(component_layout({128, 128}, 4096)->pictures_shape(4096), (Shape{1, 1, 8192, 8192}));
  EXPECT_EQ(component_layout({128, 128}, 4097)->pictures(4097), 2u);
  EXPECT_EQ(component_layout({1, 1}, 1)->pictures_shape(1), (Shape{1, 1, 144, 144}));
  for (const TokenGrid grid : {TokenGrid{1, 509}, TokenGrid{509, 1}, TokenGrid{7, 13}, TokenGrid{3000, 2}}) {
    for (const std::size_t components : {1u, 5u, 97u, 640u}) {
      const PictureLayout layout = component_layout(grid, components).value();
      ASSERT_TRUE(layout.check().ok());
      ASSERT_LE(layout.width(), kMaxPictureSide);
      ASSERT_LE(layout.height(), kMaxPictureSide);
      expect_tiles_apart(layout, components);
    }
  }
}

TEST(PictureLayout, RefusesWhatHardwareCannotCode) {
  for (const TokenGrid grid : {TokenGrid{0, 8}, TokenGrid{8, 0}, TokenGrid{8193, 1}, TokenGrid{1, 8193}}) {
    EXPECT_EQ(range_layout(grid, 1, PlanePadding::kLean).error().code, Errc::kInvalidArgument);
    EXPECT_EQ(component_layout(grid, 1).error().code, Errc::kInvalidArgument);
  }
  EXPECT_FALSE(range_layout({1025, 8}, 8, PlanePadding::kLean).ok());
  EXPECT_TRUE(range_layout({1024, 8}, 8, PlanePadding::kLean).ok());
  EXPECT_FALSE(range_layout({8, 8}, 3, PlanePadding::kLean).ok());
  EXPECT_FALSE(component_layout({8, 8}, 0).ok());
}

}  // namespace
}  // namespace pinion::codec
