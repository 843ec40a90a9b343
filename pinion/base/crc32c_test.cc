#include "pinion/base/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pinion {
namespace {

// Bit by bit from the definition, as slow as can be.
std::uint32_t crc32c_by_definition(ByteSpan bytes) {
  std::uint32_t state = 0xffffffffu;
  for (const std::byte byte : bytes) {
    state ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) ? 0x82f63b78u : 0u);
  }
  return ~state;
}

// RFC 3720 (iSCSI), section B.4, and the check value of the CRC catalogue.
TEST(Crc32c, KnownVectors) {
  Bytes bytes(32, std::byte{0});
  EXPECT_EQ(crc32c({}), 0u);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(bytes), 0x8a9136aau);
  std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
  EXPECT_EQ(crc32c(bytes), 0x62a8ab43u);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(bytes), 0x46dd794eu);
  std::reverse(bytes.begin(), bytes.end());
  EXPECT_EQ(crc32c(bytes), 0x113fdb5cu);
}

TEST(Crc32c, AgreesWithTheDefinitionAtEveryLengthAndAlignment) {
  Bytes bytes(96);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 + 11);
  for (std::size_t start = 0; start < 9; ++start) {
    for (std::size_t size = 0; size + start <= bytes.size(); ++size) {
      const ByteSpan part = ByteSpan(bytes).subspan(start, size);
      ASSERT_EQ(crc32c(part), crc32c_by_definition(part)) << "start " << start << " size " << size;
    }
  }
}

TEST(Crc32c, ContinuesAcrossAnySplit) {
  Bytes bytes(70);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * i);
  const std::uint32_t whole = crc32c(bytes);
  for (std::size_t split = 0; split <= bytes.size(); ++split) {
    const ByteSpan all(bytes);
    EXPECT_EQ(crc32c(all.subspan(split), crc32c(all.first(split))), whole) << "split " << split;
  }
}

TEST(Crc32c, SeesEverySingleBitFlip) {
  Bytes bytes(40, std::byte{0x5a});
  const std::uint32_t before = crc32c(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    EXPECT_NE(crc32c(bytes), before) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
  }
}

// Long ones go in stretches side by side.
TEST(Crc32c, LongInputsAreThoseOfTheDefinition) {
  std::vector<std::byte> bytes(3 * 4096 * 3 + 100);
  std::uint32_t value = 1;
  for (std::byte& byte : bytes) byte = std::byte((value = value * 1664525 + 1013904223) >> 24);
  for (const std::size_t size :
       {3u * 4096 - 1, 3u * 4096, 3u * 4096 + 1, 2 * 3u * 4096 + 13, 3 * 3u * 4096 + 100}) {
    const ByteSpan part = ByteSpan(bytes).first(size);
    EXPECT_EQ(crc32c(part), crc32c_by_definition(part)) << size;
  }
}

}  // namespace
}  // namespace pinion
