#include "pinion/base/bytes.h"

#include <gtest/gtest.h>

#include "pinion/base/checked.h"

namespace pinion {
namespace {

TEST(Bytes, WriterAndReaderAgreeOnEveryType) {
  ByteWriter writer;
  writer.write<std::uint8_t>(0xab);
  writer.write<std::uint16_t>(0x1234);
  writer.write<std::int32_t>(-7);
  writer.write<std::uint64_t>(0x0102030405060708u);
  writer.write<float>(1.5f);
  writer.write<double>(-0.1);
  writer.write_bytes(as_bytes("tail"));
  const Bytes bytes = std::move(writer).take();
  EXPECT_EQ(bytes.size(), 1u + 2 + 4 + 8 + 4 + 8 + 4);
  EXPECT_EQ(bytes[1], std::byte{0x34}) << "little-endian: the low byte comes first";
  EXPECT_EQ(bytes[7], std::byte{0x08});

  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<std::uint8_t>(), 0xab);
  EXPECT_EQ(reader.read<std::uint16_t>(), 0x1234);
  EXPECT_EQ(reader.read<std::int32_t>(), -7);
  EXPECT_EQ(reader.read<std::uint64_t>(), 0x0102030405060708u);
  EXPECT_EQ(reader.read<float>(), 1.5f);
  EXPECT_EQ(reader.read<double>(), -0.1);
  EXPECT_EQ(as_text(reader.take(4)), "tail");
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_TRUE(reader.check("frame").ok());
}

TEST(Bytes, ShortInputFailsForGoodAndReadsZero) {
  const Bytes bytes(5, std::byte{0xff});
  ByteReader reader(bytes);
  EXPECT_EQ(reader.read<std::uint32_t>(), 0xffffffffu);
  EXPECT_EQ(reader.read<std::uint32_t>(), 0u);
  EXPECT_TRUE(reader.failed());
  EXPECT_EQ(reader.read<std::uint8_t>(), 0u) << "the byte that is left must not be read after a failure";
  EXPECT_EQ(reader.remaining(), 0u);

  const auto verdict = reader.check("frame header");
  ASSERT_FALSE(verdict.ok());
  EXPECT_EQ(verdict.error().code, Errc::kNeedMoreBytes);
  EXPECT_EQ(verdict.error().text, "frame header ends too early: 5 bytes, wanted more at offset 4");
}

TEST(Bytes, TakeOfAHugeCountDoesNotWrapAround) {
  const Bytes bytes(8);
  ByteReader reader(bytes);
  reader.take(3);
  EXPECT_TRUE(reader.take(SIZE_MAX).empty());
  EXPECT_TRUE(reader.failed());
}

TEST(Bytes, TakeOfNothingSucceedsAtTheEnd) {
  ByteReader reader(ByteSpan{});
  EXPECT_TRUE(reader.take(0).empty());
  EXPECT_FALSE(reader.failed());
}

TEST(Bytes, PatchOverwritesAnEarlierField) {
  ByteWriter writer;
  writer.write<std::uint32_t>(0);
  writer.write<std::uint16_t>(0xbeef);
  writer.patch<std::uint32_t>(0, 0xcafe);
  ByteReader reader(writer.view());
  EXPECT_EQ(reader.read<std::uint32_t>(), 0xcafeu);
  EXPECT_EQ(reader.read<std::uint16_t>(), 0xbeef);
}

TEST(Checked, SeesEveryOverflow) {
  EXPECT_EQ(checked_add<std::size_t>(SIZE_MAX - 1, 1), SIZE_MAX);
  EXPECT_FALSE(checked_add<std::size_t>(SIZE_MAX, 1));
  EXPECT_FALSE(checked_add<std::int64_t>(INT64_MIN, -1));
  EXPECT_EQ(checked_mul<std::size_t>(1u << 31, 2), std::size_t{1} << 32);
  EXPECT_FALSE(checked_mul<std::size_t>(SIZE_MAX / 2 + 1, 2));
  EXPECT_EQ(checked_mul<std::int64_t>(INT64_MIN, 1), INT64_MIN);
  EXPECT_FALSE(checked_mul<std::int64_t>(INT64_MIN, -1));
  EXPECT_EQ(checked_mul<std::uint8_t>(15, 17), 255);
  EXPECT_FALSE(checked_mul<std::uint8_t>(16, 16));
}

}  // namespace
}  // namespace pinion
