// CRC-32C in parts, put together as the kernels do it, against the one of pinion/base/.

#include "pinion/codec/cuda/crc32c_parts.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "pinion/base/crc32c.h"
#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

constexpr std::int64_t kRows = 1;  // words of a lane in a part: few, so that messages have many parts

// The message lies at `begin` in an aligned buffer with other bytes around it.
std::uint32_t crc_in_parts(const std::vector<std::uint32_t>& buffer, std::uint64_t begin, std::uint64_t end) {
  const auto powers = make_crc_powers();
  std::vector<std::uint32_t> table(kCrcTableEntries);
  make_crc_table(powers.data(), table.data());
  const auto parts = make_crc_part_powers(powers.data(), 32 * kRows);
  const auto words = static_cast<std::int64_t>(end / 4), first = static_cast<std::int64_t>(begin / 4);
  std::uint32_t sum = 0;
  for (std::int64_t part = 0; words - part * 32 * kRows > first; ++part) {
    for (std::int64_t lane = 0; lane < 32; ++lane) {
      std::uint32_t state = 0;
      for (std::int64_t row = 0; row < kRows; ++row) {
        const std::int64_t at = words - (part + 1) * 32 * kRows + row * 32 + lane;
        const std::uint32_t word = at < first ? 0
                                              : crc_word(buffer[static_cast<std::size_t>(at)],
                                                         static_cast<std::uint64_t>(at) * 4, begin);
        state = crc_over_stride(state, [&](std::uint32_t i) { return table.at(i); }) ^ word;
      }
      const auto number = static_cast<std::size_t>(part);
      const std::uint32_t behind =
          crc_product(parts.low[number % kCrcPartDigit], parts.high[number / kCrcPartDigit]);
      sum ^= crc_product(crc_product(state, parts.of_lane[static_cast<std::size_t>(lane)]), behind);
    }
  }
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(buffer.data());
  for (std::uint64_t at = end / 4 * 4; at < end; ++at) sum = crc_with_byte(sum, bytes[at]);
  return ~sum;
}

TEST(CrcParts, AnyBeginAndLengthGivesTheSameCrc) {
  testing::Dice dice(5);
  std::vector<std::uint32_t> buffer(40000);
  for (std::uint32_t& word : buffer) word = dice.bits();
  for (std::uint64_t begin = 0; begin < 20; ++begin) {
    for (const std::uint64_t length :
         {8u, 9u, 10u, 11u, 31u, 127u, 128u, 129u, 383u, 384u, 385u, 1000u, 4321u, 140001u}) {
      const ByteSpan message = std::as_bytes(std::span(buffer)).subspan(begin, length);
      EXPECT_EQ(crc_in_parts(buffer, begin, begin + length), crc32c(message)) << begin << " " << length;
    }
  }
}

}  // namespace
}  // namespace pinion::codec
