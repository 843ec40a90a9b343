// Bins of magnitudes, and the places of a product's columns: what kernels do for single numbers.

#include "pinion/codec/cuda/magnitude_bins.h"

#include <gtest/gtest.h>

namespace pinion::codec::cuda {
namespace {

TEST(MagnitudeBins, EveryMagnitudeLiesInItsBin) {
  for (std::uint32_t bin = 0; bin < kMagnitudeBins; ++bin) {
    EXPECT_LT(bin_begin(bin), bin_begin(bin + 1));
    EXPECT_EQ(magnitude_bin(bin_begin(bin)), bin);
    EXPECT_EQ(magnitude_bin(bin_begin(bin + 1) - 1), bin);
  }
  EXPECT_EQ(magnitude_bin(1u << 26), kMagnitudeBins - 1);
}

TEST(MagnitudeBins, SmallOnesAreExactAndLargeOnesHalfAnOctave) {
  EXPECT_EQ(magnitude_bin(11), 11u);
  EXPECT_EQ(bin_begin(12), 12u);
  EXPECT_EQ(bin_begin(13), 16u);
  EXPECT_EQ(bin_begin(14), 24u);
  EXPECT_EQ(bin_begin(15), 32u);
}

}  // namespace
}  // namespace pinion::codec::cuda
