// Chunks of byte symbols: every CPU path writes the same bytes, which are those of the operations of the
// format, and takes and refuses the same chunks.

#include "pinion/codec/entropy/byte_coder.h"

#include <gtest/gtest.h>

#include "pinion/codec/codec_testing.h"

namespace pinion::codec {
namespace {

using testing::Dice;

std::vector<CpuPath> paths() {
  std::vector<CpuPath> here;
  for (const CpuPath path : {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512}) {
    if (has_cpu_path(path)) here.push_back(path);
  }
  return here;
}

struct Content {
  std::vector<std::uint8_t> symbols, classes;
  std::vector<Frequencies> tables;

  ByteChunkForm form(int lanes) const { return {lanes, tables.size() > 1 ? classes.data() : nullptr}; }
};

// Symbols of tables that are flat, steep, or of one symbol alone.
Content content_of(std::size_t count, std::size_t classes, std::uint32_t seed) {
  Dice dice(seed);
  Content content;
  std::vector<std::vector<std::uint64_t>> counts(classes, std::vector<std::uint64_t>(kMaxAlphabet));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t k = dice.bits() % classes;
    const std::uint32_t size = (k * 3 + seed) % 9;
    content.classes.push_back(static_cast<std::uint8_t>(k));
    content.symbols.push_back(static_cast<std::uint8_t>(dice.bits() % (1u << size) * (dice.bits() % 2)));
    ++counts[k][content.symbols.back()];
  }
  for (auto& table : counts) {
    if (std::all_of(table.begin(), table.end(), [](auto n) { return n == 0; })) table[7] = 1;
    content.tables.push_back(normalise_counts(table));
  }
  return content;
}

Bytes encode(const Content& content, int lanes, CpuPath path) {
  ByteEncodeTables tables;
  tables.build(content.tables);
  std::vector<std::uint16_t> words;
  Bytes out(byte_chunk_bound(content.symbols.size(), lanes));
  out.resize(encode_byte_chunk(content.symbols, content.form(lanes), tables, path, words, out.data()));
  return out;
}

// The operations one by one.
Bytes encode_slowly(const Content& content, int lanes) {
  const std::vector<EncodeTable> tables(content.tables.begin(), content.tables.end());
  ChunkEncoder chunk(lanes);
  for (std::size_t i = content.symbols.size(); i-- > 0;) {
    const std::size_t k = tables.size() > 1 ? content.classes[i] : 0u;
    chunk.put(static_cast<int>(i % static_cast<std::size_t>(lanes)), tables[k][content.symbols[i]]);
  }
  ByteWriter out;
  chunk.finish(out);
  return std::move(out).take();
}

TEST(ByteCoder, EveryPathWritesTheOperationsOfTheFormat) {
  std::uint32_t seed = 1;
  for (const std::size_t count : {0, 1, 31, 32, 33, 64, 95, 1000, 16384}) {
    for (const std::size_t classes : {1, 2, 7, 16}) {
      const Content content = content_of(count, classes, ++seed);
      for (const int lanes : {1, 2, 16, 32}) {
        const Bytes expected = encode_slowly(content, lanes);
        ByteDecodeTables tables;
        tables.build(content.tables);
        for (const CpuPath path : paths()) {
          SCOPED_TRACE(std::to_string(count) + " " + std::to_string(classes) + " " + std::to_string(lanes) +
                       " " + std::to_string(static_cast<int>(path)));
          ASSERT_EQ(encode(content, lanes, path), expected);
          std::vector<std::uint8_t> out(count);
          ASSERT_TRUE(decode_byte_chunk(expected, content.form(lanes), tables, path, out).ok());
          ASSERT_EQ(out, content.symbols);
        }
      }
    }
  }
}

TEST(ByteCoder, EveryFrequencyDividesRight) {
  // Two symbols whose frequencies are f and the rest, at states from all over their range.
  for (std::uint32_t f = 1; f < kProbabilityScale; f += f < 70 || f > 4000 ? 1 : 13) {
    Frequencies frequencies(kMaxAlphabet);
    frequencies[3] = static_cast<std::uint16_t>(f);
    frequencies[200] = static_cast<std::uint16_t>(kProbabilityScale - f);
    Content content;
    content.tables.push_back(frequencies);
    Dice dice(f);
    for (int i = 0; i < 640; ++i) content.symbols.push_back(dice.bits() % 2 ? 3 : 200);
    const Bytes expected = encode_slowly(content, kMaxLanes);
    for (const CpuPath path : paths()) ASSERT_EQ(encode(content, kMaxLanes, path), expected) << f;
  }
}

TEST(ByteCoder, EveryPathTakesAndRefusesTheSameChunks) {
  const Content content = content_of(700, 5, 4);
  ByteDecodeTables tables;
  tables.build(content.tables);
  const Bytes good = encode(content, kMaxLanes, CpuPath::kPortable);
  Dice dice(5);
  std::size_t accepted = 0;
  const auto compare = [&](ByteSpan chunk) {
    std::vector<std::uint8_t> expected(content.symbols.size());
    const bool ok =
        decode_byte_chunk(chunk, content.form(kMaxLanes), tables, CpuPath::kPortable, expected).ok();
    accepted += ok;
    for (const CpuPath path : paths()) {
      std::vector<std::uint8_t> out(content.symbols.size());
      ASSERT_EQ(decode_byte_chunk(chunk, content.form(kMaxLanes), tables, path, out).ok(), ok);
      if (ok) {
        ASSERT_EQ(out, expected);
      }
    }
  };
  compare(good);
  EXPECT_EQ(accepted, 1u);
  for (std::size_t size = 0; size < good.size(); ++size) compare(ByteSpan(good).first(size));
  EXPECT_EQ(accepted, 1u) << "a chunk that was cut short was taken";
  for (int i = 0; i < 2000; ++i) {
    Bytes changed = good;
    changed[dice.bits() % changed.size()] ^= std::byte{1} << (dice.bits() % 8);
    compare(changed);
  }
}

}  // namespace
}  // namespace pinion::codec
