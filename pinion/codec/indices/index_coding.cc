#include "pinion/codec/indices/index_coding.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace pinion::codec {
namespace {

constexpr int kMaxEscapeLength = 27;  // of the excess over the alphabet
constexpr int kWordBits = 16;

std::uint32_t low_part(std::int32_t value, int shift) {
  return shift == 0 ? 0 : static_cast<std::uint32_t>(value + (1 << (shift - 1))) & ((1u << shift) - 1);
}

struct Escape {
  std::uint32_t head;  // sign | length << 1
  int length;
  std::uint32_t low;  // the excess without its leading one
};

Escape escape_of(std::int32_t high, int half) {
  const auto excess = static_cast<std::uint32_t>((high < 0 ? -high : high) - half);
  const int length = std::bit_width(excess) - 1;
  return {static_cast<std::uint32_t>(high < 0) | static_cast<std::uint32_t>(length) << 1, length,
          excess & ((1u << length) - 1)};
}

// The operations of one group in reverse (§6.3): escapes, plain bits, symbols;
// lanes from last to first.
void encode_group(ChunkEncoder& chunk, const IndexTable& table, int shift,
                  std::span<const std::int32_t> values) {
  const int count = static_cast<int>(values.size());
  const auto is_escape = [&table](std::int32_t high) { return high > table.half || high < -table.half; };
  const auto each = [&](auto visit) {
    for (int lane = count; lane-- > 0;) visit(lane, high_part(values[static_cast<std::size_t>(lane)], shift));
  };
  bool escapes = false;
  each([&](int, std::int32_t high) { escapes |= is_escape(high); });
  if (escapes) {
    each([&](int lane, std::int32_t high) {
      if (!is_escape(high)) return;
      if (const Escape escape = escape_of(high, table.half); escape.length > kWordBits) {
        chunk.put_bits(lane, escape.low >> kWordBits, escape.length - kWordBits);
      }
    });
    each([&](int lane, std::int32_t high) {
      if (!is_escape(high)) return;
      const Escape escape = escape_of(high, table.half);
      chunk.put_bits(lane, escape.low & 0xffff, std::min(escape.length, kWordBits));
    });
    each([&](int lane, std::int32_t high) {
      if (is_escape(high)) chunk.put_bits(lane, escape_of(high, table.half).head, kEscapeHeadBits);
    });
  }
  if (shift > 0) {
    each([&](int lane, std::int32_t) {
      chunk.put_bits(lane, low_part(values[static_cast<std::size_t>(lane)], shift), shift);
    });
  }
  each([&](int lane, std::int32_t high) {
    const int symbol = is_escape(high) ? table.escape() : high + table.half;
    chunk.put(lane, table.encode[static_cast<std::size_t>(symbol)]);
  });
}

// What follows the symbols of a group: plain bits, then escapes. `symbols` and
// `values` have one entry a lane.
Result<void> decode_group_rest(ChunkDecoder& chunk, const IndexTable& table, int shift,
                               std::span<const std::uint8_t> symbols, std::span<std::int32_t> values) {
  const int count = static_cast<int>(values.size());
  std::array<std::uint32_t, kMaxLanes> low{};
  std::array<std::uint32_t, kMaxLanes> excess{};
  std::array<std::uint32_t, kMaxLanes> head{};
  for (int lane = 0; shift > 0 && lane < count; ++lane)
    low[static_cast<std::size_t>(lane)] = chunk.get_bits(lane, shift);
  const auto each_escape = [&](auto visit) {
    for (int lane = 0; lane < count; ++lane) {
      const auto i = static_cast<std::size_t>(lane);
      if (symbols[i] == table.escape()) visit(lane, i, static_cast<int>(head[i] >> 1));
    }
  };
  bool in_range = true;
  each_escape([&](int lane, std::size_t i, int) {
    head[i] = chunk.get_bits(lane, kEscapeHeadBits);
    if (static_cast<int>(head[i] >> 1) > kMaxEscapeLength) in_range = false, head[i] = 0;
  });
  each_escape([&](int lane, std::size_t i, int length) {
    excess[i] = (1u << length) | chunk.get_bits(lane, std::min(length, kWordBits));
  });
  each_escape([&](int lane, std::size_t i, int length) {
    if (length <= kWordBits) return;
    excess[i] = (1u << length) | (excess[i] & 0xffff) | chunk.get_bits(lane, length - kWordBits) << kWordBits;
  });
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t high = static_cast<int>(symbols[i]) - table.half;
    if (symbols[i] == table.escape()) {
      high = static_cast<std::int64_t>(excess[i]) + table.half;
      if (head[i] & 1) high = -high;
    }
    const std::int64_t value = shift == 0 ? high : high * (1 << shift) + low[i] - (1 << (shift - 1));
    if (value > kMaxIndex || value < -kMaxIndex) in_range = false;
    values[i] = in_range ? static_cast<std::int32_t>(value) : 0;
  }
  if (in_range) return {};
  return Error{Errc::kBadFormat, "a coded index is out of range", ""};
}

}  // namespace

void encode_indices(ChunkEncoder& chunk, int lanes, ClassCode code, std::span<const std::int32_t> values) {
  // Whole groups, of which most hold no escape.
  constexpr std::size_t kTogether = 256;
  static_assert(kTogether % kMaxLanes == 0);
  const auto group = static_cast<std::size_t>(lanes);
  const IndexTable& table = *code.table;
  std::array<std::uint8_t, kTogether> symbols;
  for (std::size_t end = values.size(); end > 0;) {
    const std::size_t count = (end - 1) % kTogether + 1;
    end -= count;
    const auto piece = values.subspan(end, count);
    std::uint32_t outside = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto symbol = static_cast<std::uint32_t>(piece[i] + table.half);
      outside |= symbol > static_cast<std::uint32_t>(2 * table.half);
      symbols[i] = static_cast<std::uint8_t>(symbol);
    }
    if (code.shift == 0 && outside == 0) {
      chunk.put_run(table.run_encode, std::span(symbols).first(count));
      continue;
    }
    for (std::size_t last = count; last > 0;) {
      const std::size_t size = (last - 1) % group + 1;
      last -= size;
      encode_group(chunk, table, code.shift, piece.subspan(last, size));
    }
  }
}

Result<void> decode_indices(ChunkDecoder& chunk, int lanes, ClassCode code, std::span<std::int32_t> values) {
  const auto [table_of_class, shift] = code;
  const IndexTable& table = *table_of_class;
  std::array<std::uint8_t, kMaxLanes> symbols{};
  const auto group = static_cast<std::size_t>(lanes);
  for (std::size_t begin = 0; begin < values.size(); begin += group) {
    const std::size_t size = std::min(group, values.size() - begin);
    chunk.get_group(table.decode.slots(), size, symbols.data());
    bool rest = shift > 0;
    for (std::size_t lane = 0; lane < size; ++lane) {
      values[begin + lane] = symbols[lane] - table.half;
      rest |= symbols[lane] == table.escape();
    }
    if (!rest) continue;
    PINION_TRY_VOID(
        decode_group_rest(chunk, table, shift, std::span(symbols).first(size), values.subspan(begin, size)));
  }
  return {};
}

}  // namespace pinion::codec
