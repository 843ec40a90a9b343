#include "pinion/codec/entropy/rans_fast.h"

#include <algorithm>

namespace pinion::codec {
namespace {

// One symbol per lane for as many full groups as the words surely last (one
// word a symbol at most), then the careful way. `table_at(i)` is the table of
// symbol i.
template <int kLanes, class TableAt>
void decode_groups(ChunkDecoder& decoder, TableAt table_at, std::span<std::uint8_t> out) {
  std::array<std::uint32_t, kMaxLanes> states = decoder.states();
  const std::byte* words = decoder.next_words();
  std::size_t done = 0;
  std::size_t left = decoder.words_left();
  while (out.size() - done >= kLanes && left >= kLanes) {
    const std::size_t groups = std::min((out.size() - done) / kLanes, left / kLanes);
    const std::byte* const begin = words;
    for (std::size_t group = 0; group < groups; ++group) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const std::uint32_t x = states[lane];
        const DecodeEntry entry = table_at(done + lane)[x & (kProbabilityScale - 1)];
        const std::uint32_t next = entry.frequency * (x >> kProbabilityBits) + entry.offset;
        std::uint16_t word;
        std::memcpy(&word, words, sizeof(word));
        const bool refill = next < kRansLow;
        states[lane] = refill ? (next << 16) | word : next;
        words += refill ? 2 : 0;
        out[done + lane] = entry.symbol;
      }
      done += kLanes;
    }
    left -= static_cast<std::size_t>(words - begin) / 2;
  }
  decoder.skip_words(decoder.words_left() - left);
  decoder.states() = states;
  for (std::size_t i = done; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(decoder.get(static_cast<int>(i % kLanes), table_at(i)));
  }
}

template <class TableAt>
void decode_with_lanes(ChunkDecoder& decoder, int lanes, TableAt table_at, std::span<std::uint8_t> out) {
  switch (lanes) {
    case 1:
      return decode_groups<1>(decoder, table_at, out);
    case 2:
      return decode_groups<2>(decoder, table_at, out);
    case 4:
      return decode_groups<4>(decoder, table_at, out);
    case 8:
      return decode_groups<8>(decoder, table_at, out);
    case 16:
      return decode_groups<16>(decoder, table_at, out);
    default:
      return decode_groups<32>(decoder, table_at, out);
  }
}

}  // namespace

void decode_run(ChunkDecoder& decoder, int lanes, const DecodeTable& table, std::span<std::uint8_t> out) {
  decode_with_lanes(
      decoder, lanes, [&table](std::size_t) -> const DecodeTable& { return table; }, out);
}

void decode_by_channel(ChunkDecoder& decoder, int lanes, std::span<const DecodeTable* const> tables,
                       std::size_t channel, std::span<std::uint8_t> out) {
  // Symbols are asked for in order, so the ring position is kept instead of
  // divided out.
  std::size_t last = 0;
  std::size_t position = channel;
  const auto table_at = [&](std::size_t i) -> const DecodeTable& {
    position += i - last;
    last = i;
    while (position >= tables.size()) position -= tables.size();
    return *tables[position];
  };
  decode_with_lanes(decoder, lanes, table_at, out);
}

}  // namespace pinion::codec
