#include "pinion/pipeline/placement.h"

#include <gtest/gtest.h>

namespace pinion::pipeline {
namespace {

using models::BlockRange;

TEST(Placement, KeepsEverythingLocalWithoutWorkers) {
  for (const char* cut : {"auto", "all"}) {
    const auto placement = place(cut, 6, 0);
    ASSERT_TRUE(placement.ok()) << cut;
    EXPECT_TRUE(placement->is_local());
    EXPECT_EQ(placement->local, (BlockRange{0, 6}));
  }
}

TEST(Placement, FollowsTheCutsOfAChain) {
  const auto placement = place("2,5", 6, 2);
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(placement->local, (BlockRange{0, 2}));
  EXPECT_EQ(placement->remote, (std::vector<BlockRange>{{2, 5}, {5, 6}}));
}

TEST(Placement, CutZeroLeavesTheClientWithoutBlocks) {
  const auto placement = place("0", 6, 1);
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(placement->local.size(), 0);
  EXPECT_EQ(placement->remote, (std::vector<BlockRange>{{0, 6}}));
}

TEST(Placement, AutoSharesAllBlocksAmongWorkers) {
  const auto placement = place("auto", 7, 3);
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(placement->remote, (std::vector<BlockRange>{{0, 2}, {2, 4}, {4, 7}}));
}

TEST(Placement, RefusesWhatCannotBe) {
  struct Case {
    const char* cut;
    int workers;
  };
  for (const Case& c :
       {Case{"6", 1}, Case{"-1", 1}, Case{"3,3", 2}, Case{"4,2", 2}, Case{"3", 2}, Case{"2,4", 1},
        Case{"", 1}, Case{"x", 1}, Case{"3,", 1}, Case{"all", 1}, Case{"3", 0}, Case{"99999999999", 1}}) {
    const auto placement = place(c.cut, 6, c.workers);
    ASSERT_FALSE(placement.ok()) << c.cut;
    EXPECT_EQ(placement.error().code, Errc::kInvalidArgument) << c.cut;
    EXPECT_FALSE(placement.error().hint.empty());
  }
}

}  // namespace
}  // namespace pinion::pipeline
