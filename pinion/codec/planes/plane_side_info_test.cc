#include "pinion/codec/planes/plane_side_info.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace pinion::codec {
namespace {

constexpr DecodeLimits kLimits{.max_tensor_bytes = 1 << 20};

RangeSideInfo ranges() { return {{{8, 6}, 4, PlanePadding::kLean}, {{-1, 2}, {0, 0}, {-65504, 0x1p-24f}}}; }

ComponentSideInfo components() { return {{{8, 6}, 0.125f}, 3, {0, -7, 1 << 20}}; }

template <class T>
Bytes with(Bytes bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return bytes;
}

Errc refusal(const Bytes& bytes) {
  const auto parsed = parse_side_info(bytes, kLimits);
  return parsed.ok() ? Errc::kInternal : parsed.error().code;
}

TEST(PlaneSideInfo, RangesComeBackInHalfOrSinglePrecision) {
  RangeSideInfo info = ranges();
  for (const std::size_t bytes_per_range : {4u, 8u}) {
    const Bytes bytes = write_side_info(info);
    EXPECT_EQ(bytes.size(), 16 + 3 * bytes_per_range);
    const auto parsed = std::get<RangeSideInfo>(parse_side_info(bytes, kLimits).value());
    EXPECT_EQ(parsed.ranges, info.ranges);
    EXPECT_EQ(parsed.packing.grid, info.packing.grid);
    EXPECT_EQ(parsed.packing.tiles_per_side, 4u);
    EXPECT_EQ(parsed.packing.padding, PlanePadding::kLean);
    info.ranges[1] = {-1e30f, 1e30f};
  }
}

TEST(PlaneSideInfo, ComponentsComeBackWithOrWithoutOffsets) {
  ComponentSideInfo info = components();
  for (const std::size_t size : {32u, 20u}) {
    const Bytes bytes = write_side_info(info);
    EXPECT_EQ(bytes.size(), size);
    const auto parsed = std::get<ComponentSideInfo>(parse_side_info(bytes, kLimits).value());
    EXPECT_EQ(parsed.offsets, info.offsets);
    EXPECT_EQ(parsed.components, 3u);
    EXPECT_EQ(parsed.packing.step, 0.125f);
    info.offsets.clear();
  }
}

TEST(PlaneSideInfo, RefusesEveryTruncationAndBytesTooMany) {
  for (const Bytes& whole : {write_side_info(ranges()), write_side_info(components())}) {
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_EQ(refusal(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
                Errc::kNeedMoreBytes);
    Bytes longer = whole;
    longer.push_back({});
    EXPECT_EQ(refusal(longer), Errc::kBadFormat);
  }
}

TEST(PlaneSideInfo, RefusesFieldsOutOfRange) {
  const Bytes first = write_side_info(ranges()), second = write_side_info(components());
  for (const std::size_t field : {0u, 1u, 2u, 3u}) {
    EXPECT_EQ(refusal(with(first, field, std::uint8_t{3})), Errc::kBadFormat) << field;
    EXPECT_EQ(refusal(with(second, field, std::uint8_t{3})), Errc::kBadFormat) << field;
  }
  for (const std::size_t field : {4u, 8u, 12u}) {
    EXPECT_EQ(refusal(with(first, field, 0u)), Errc::kBadFormat) << field;
    EXPECT_NE(refusal(with(first, field, 0xffffffffu)), Errc::kInternal) << field;
    EXPECT_NE(refusal(with(second, field, 0xffffffffu)), Errc::kInternal) << field;
  }
  EXPECT_EQ(refusal(with(second, 12, 60000u)), Errc::kTooLarge);
  EXPECT_EQ(refusal(with(first, 16, std::uint16_t{0x7c00})), Errc::kBadFormat);  // infinity
  EXPECT_EQ(refusal(with(first, 16, std::uint16_t{0x7e00})), Errc::kBadFormat);  // NaN
  EXPECT_EQ(refusal(with(first, 16, std::uint16_t{0x7bff})), Errc::kBadFormat);  // above high
  for (const float step : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), 1e38f})
    EXPECT_EQ(refusal(with(second, 16, step)), Errc::kBadFormat) << step;
}

TEST(PlaneSideInfo, RandomBytesNeverBreakIt) {
  std::mt19937 random(5);
  for (const Bytes& whole : {write_side_info(ranges()), write_side_info(components())}) {
    for (int i = 0; i < 20000; ++i) {
      Bytes bytes = whole;
      for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
        bytes[random() % bytes.size()] = static_cast<std::byte>(random());
      (void)parse_side_info(bytes, kLimits);
    }
  }
}

}  // namespace
}  // namespace pinion::codec
