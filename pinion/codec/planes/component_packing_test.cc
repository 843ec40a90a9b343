#include "pinion/codec/planes/component_packing.h"

#include <gtest/gtest.h>

#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/planes/planes_testing.h"

namespace pinion::codec {
namespace {

using testing::scaled_noise;
using testing::tensor_of;

// The step with which no component is clipped.
float whole_step(const std::vector<float>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return std::max((*high - *low) / 250, 1e-6f);
}

std::vector<float> pass(const ComponentPictures& packed, const Matrix& basis,
                        const ComponentPacking& packing) {
  return floats_of(unpack_components(packed.pictures, basis, packed.offsets, packing).value());
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

// Reflections make any number of orthonormal rows.
Matrix some_basis(std::size_t rows, std::size_t channels) {
  const std::vector<float> normal = scaled_noise(channels, 1, 17);
  const float scale = 2 / energy(normal);
  Matrix basis(rows, channels);
  for (std::size_t k = 0; k < rows; ++k) {
    for (std::size_t c = 0; c < channels; ++c)
      basis.row(k)[c] = (k == c ? 1.0f : 0.0f) - scale * normal[k] * normal[c];
  }
  return basis;
}

TEST(ComponentPacking, EveryElementWithinHalfAStep) {
  unsigned seed = 1;
  for (const TokenGrid grid : {TokenGrid{1, 1}, TokenGrid{1, 37}, TokenGrid{9, 5}, TokenGrid{16, 24}}) {
    for (const std::size_t channels : {1u, 63u, 200u}) {
      const std::vector<float> values = scaled_noise(grid.tokens(), channels, ++seed);
      const ComponentPacking packing{grid, whole_step(values)};
      const ComponentPictures packed = pack_components(tensor_of(values, grid), {}, {}, packing).value();
      EXPECT_EQ(packed.clipping.values, 0u);
      EXPECT_LE(largest_difference(pass(packed, {}, packing), values), packing.step / 2 * (1 + 1e-4));
    }
  }
}

TEST(ComponentPacking, ConstantChannelsAreFlatGrey) {
  const TokenGrid grid{12, 12};
  const ComponentPacking packing{grid, 0.5f};
  const ComponentPictures packed =
      pack_components(tensor_of(std::vector<float>(grid.tokens() * 9, 1000.0f), grid), {}, {}, packing)
          .value();
  for (const std::byte level : packed.pictures.view().span()) ASSERT_EQ(static_cast<int>(level), kGreyLevel);
  EXPECT_EQ(packed.offsets, std::vector<std::int32_t>(9, 2000));
  EXPECT_EQ(pass(packed, {}, packing), std::vector<float>(grid.tokens() * 9, 1000.0f));
}

TEST(ComponentPacking, ReportsWhatItClips) {
  const TokenGrid grid{4, 4};
  const ComponentPacking packing{grid, 1};
  std::vector<float> values(16);
  values[3] = 200;
  values[7] = -200;
  const ComponentPictures packed = pack_components(tensor_of(values, grid), {}, {}, packing).value();
  EXPECT_EQ(packed.clipping.values, 2u);
  EXPECT_DOUBLE_EQ(packed.clipping.largest_excess, 200 - 127 - 0.5);
  const std::vector<float> out = pass(packed, {}, packing);
  EXPECT_EQ(out[3], 127);
  EXPECT_EQ(out[7], -128);
}

TEST(ComponentPacking, ASquareBasisKeepsTheErrorOfARowWithinItsBound) {
  const TokenGrid grid{6, 7};
  constexpr std::size_t kChannels = 40;
  const std::vector<float> values = scaled_noise(grid.tokens(), kChannels, 4);
  const ComponentPacking packing{grid, 2 * whole_step(values)};
  const Matrix basis = some_basis(kChannels, kChannels);
  const ComponentPictures packed = pack_components(tensor_of(values, grid), basis, {}, packing).value();
  ASSERT_EQ(packed.clipping.values, 0u);
  const std::vector<float> out = pass(packed, basis, packing);
  for (std::size_t t = 0; t < grid.tokens(); ++t) {
    double error = 0;
    for (std::size_t i = t * kChannels; i < (t + 1) * kChannels; ++i)
      error += std::pow(static_cast<double>(out[i]) - values[i], 2);
    ASSERT_LE(std::sqrt(error), packing.step / 2 * std::sqrt(kChannels) * (1 + 1e-3));
  }
  const Matrix narrow = some_basis(11, kChannels);
  const ComponentPictures few = pack_components(tensor_of(values, grid), narrow, {}, packing).value();
  EXPECT_EQ(few.offsets.size(), 11u);
  EXPECT_EQ(pass(few, narrow, packing).size(), values.size());
}

TEST(ComponentPacking, GivenOffsetsMakeEqualValuesEqualLevels) {
  const TokenGrid grid{8, 8};
  const std::vector<float> first = scaled_noise(grid.tokens(), 5, 6);
  std::vector<float> second = first;
  second[17] += 10 * whole_step(first);
  const ComponentPacking packing{grid, 2 * whole_step(first)};
  const ComponentPictures a = pack_components(tensor_of(first, grid), {}, {}, packing).value();
  const ComponentPictures b = pack_components(tensor_of(second, grid), {}, a.offsets, packing).value();
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.pictures.bytes(); ++i)
    different += a.pictures.view().data[i] != b.pictures.view().data[i];
  EXPECT_EQ(different, 1u);
}

TEST(ComponentPacking, RefusesNaNInfinityAndWhatDoesNotFitTogether) {
  const TokenGrid grid{3, 4};
  std::vector<float> values = scaled_noise(grid.tokens(), 5, 8);
  const Tensor tensor = tensor_of(values, grid);
  const auto code = [&](const Matrix& basis, std::span<const std::int32_t> offsets, float step) {
    return pack_components(tensor, basis, offsets, {grid, step}).error().code;
  };
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float step : {0.0f, -1.0f, kInf, kNan, 1e-30f})
    EXPECT_EQ(code({}, {}, step), Errc::kInvalidArgument) << step;
  EXPECT_EQ(code(Matrix(5, 4), {}, 1), Errc::kInvalidArgument);
  EXPECT_EQ(code(Matrix(6, 5), {}, 1), Errc::kInvalidArgument);
  EXPECT_EQ(code({}, std::array{1, 2}, 1), Errc::kInvalidArgument);
  values[13] = kNan;
  EXPECT_FALSE(pack_components(tensor_of(values, grid), {}, {}, {grid, 1}).ok());
}

TEST(ComponentPacking, UnpackRefusesHostileSideInformation) {
  const TokenGrid grid{3, 4};
  const Tensor tensor = tensor_of(scaled_noise(grid.tokens(), 5, 8), grid);
  const ComponentPictures packed = pack_components(tensor, {}, {}, {grid, 1}).value();
  const auto code = [&](const Matrix& basis, std::vector<std::int32_t> offsets, float step) {
    return unpack_components(packed.pictures, basis, offsets, {grid, step}).error().code;
  };
  EXPECT_EQ(code({}, packed.offsets, 0), Errc::kBadFormat);
  EXPECT_EQ(code({}, std::vector<std::int32_t>(5, std::numeric_limits<std::int32_t>::min()), 1e30f),
            Errc::kBadFormat);
  EXPECT_EQ(code({}, std::vector<std::int32_t>(5000), 1), Errc::kBadFormat);
  EXPECT_EQ(code(Matrix(4, 5), packed.offsets, 1), Errc::kBadFormat);
  EXPECT_EQ(code({}, {}, 1), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace pinion::codec
