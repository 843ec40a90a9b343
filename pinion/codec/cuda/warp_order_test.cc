// A chunk made and read as a warp does it, 32 lanes side by side and the words' places from a mask of those
// that move one, against the CPU's coder: the same bytes, and the symbols back.

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "pinion/codec/codec_testing.h"
#include "pinion/codec/entropy/byte_coder.h"
#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec {
namespace {

constexpr std::uint32_t kWarp = 32, kClasses = 3;

struct Chunk {
  std::vector<std::uint8_t> symbols, classes;
  ByteEncodeTables tables;

  std::size_t entry(std::size_t i) const { return classes[i] * kMaxAlphabet + symbols[i]; }
};

Chunk random_chunk(std::size_t count, std::uint32_t seed) {
  testing::Dice dice(seed);
  std::vector<std::vector<std::uint64_t>> counts(kClasses, std::vector<std::uint64_t>(kMaxAlphabet, 0));
  Chunk chunk;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t of = dice.bits() % kClasses;
    const auto symbol =
        static_cast<std::uint8_t>(of == 2 ? 77 : 128 + static_cast<int>(dice.normal() * 3 * (of + 1)));
    chunk.symbols.push_back(symbol);
    chunk.classes.push_back(static_cast<std::uint8_t>(of));
    ++counts[of][symbol];
  }
  std::vector<Frequencies> frequencies;
  for (std::vector<std::uint64_t>& of : counts) {
    ++of[77];
    frequencies.push_back(normalise_counts(of));
  }
  chunk.tables.build(frequencies);
  return chunk;
}

std::uint32_t lanes_before(std::uint32_t mask, std::uint32_t lane) {
  return static_cast<std::uint32_t>(std::popcount(mask & ((1u << lane) - 1)));
}

std::vector<std::uint16_t> encode_as_a_warp(const Chunk& chunk) {
  const std::size_t count = chunk.symbols.size();
  std::vector<std::uint16_t> words(2 * kWarp + count);
  std::size_t first = words.size();
  std::array<std::uint32_t, kWarp> states;
  states.fill(kRansLow);
  for (std::size_t step = (count - 1) / kWarp + 1; step-- > 0;) {
    std::uint32_t full = 0;
    for (std::uint32_t lane = 0; lane < kWarp && step * kWarp + lane < count; ++lane)
      full |=
          std::uint32_t{lane_is_full(states[lane], chunk.tables.ranges()[chunk.entry(step * kWarp + lane)])}
          << lane;
    first -= static_cast<std::size_t>(std::popcount(full));
    for (std::uint32_t lane = 0; lane < kWarp && step * kWarp + lane < count; ++lane) {
      if ((full >> lane & 1) != 0) {
        words[first + lanes_before(full, lane)] = static_cast<std::uint16_t>(states[lane]);
        states[lane] >>= 16;
      }
      const std::size_t entry = chunk.entry(step * kWarp + lane);
      states[lane] =
          lane_with_symbol(states[lane], chunk.tables.reciprocals()[entry], chunk.tables.ranges()[entry]);
    }
  }
  first -= 2 * kWarp;
  std::memcpy(&words[first], states.data(), sizeof(states));
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(first));
  return words;
}

TEST(WarpOrder, BytesAreThoseOfTheCpusCoder) {
  for (const std::size_t count : {1u, 31u, 32u, 33u, 500u, 8192u}) {
    const Chunk chunk = random_chunk(count, static_cast<std::uint32_t>(count));
    std::vector<std::uint16_t> scratch;
    Bytes expected(byte_chunk_bound(count, kMaxLanes));
    expected.resize(encode_byte_chunk(chunk.symbols, {kMaxLanes, chunk.classes.data()}, chunk.tables,
                                      CpuPath::kPortable, scratch, expected.data()));
    const std::vector<std::uint16_t> words = encode_as_a_warp(chunk);
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(words)), expected)) << count;
  }
}

TEST(WarpOrder, SymbolsComeBack) {
  const Chunk chunk = random_chunk(1000, 9);
  const std::vector<std::uint16_t> words = encode_as_a_warp(chunk);
  std::array<std::uint32_t, kWarp> states;
  std::memcpy(states.data(), words.data(), sizeof(states));
  std::size_t next = 2 * kWarp;
  for (std::size_t i = 0; i < chunk.symbols.size(); ++i) {
    const std::uint32_t range = chunk.tables.ranges()[chunk.entry(i)], slot = lane_slot(states[i % kWarp]);
    ASSERT_GE(slot, range >> 16) << i;
    ASSERT_LT(slot, (range >> 16) + (range & 0xffff)) << i;
    std::uint32_t& state = states[i % kWarp];
    state = lane_without_symbol(state, range);
    if (state < kRansLow) state = state << 16 | words.at(next++);
  }
  EXPECT_EQ(next, words.size());
  for (const std::uint32_t state : states) EXPECT_EQ(state, kRansLow);
}

}  // namespace
}  // namespace pinion::codec
