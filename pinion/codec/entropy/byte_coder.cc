#include "pinion/codec/entropy/byte_coder.h"

#include <algorithm>
#include <cstring>

#include "pinion/codec/entropy/byte_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kGroup = kMaxLanes;

Error broken() { return Error{Errc::kBadFormat, "a coded chunk does not end where it should", ""}; }

}  // namespace

ByteLoops byte_loops(CpuPath path) {
  PINION_ASSERT(has_cpu_path(path));
#if defined(__x86_64__)
  if (path == CpuPath::kAvx512) return {encode_groups_avx512, decode_groups_avx512};
  if (path == CpuPath::kAvx2) return {encode_groups_avx2, decode_groups_avx2};
#endif
  static_cast<void>(path);
  return {encode_groups_portable, decode_groups_portable};
}

std::uint16_t* encode_groups_portable(const ByteEncodeLoop& loop, std::size_t groups, LaneStates& states,
                                      std::uint16_t* words) {
  LaneStates x = states;
  for (std::size_t i = groups * kGroup; i-- > 0;) {
    const std::size_t entry = loop.symbols[i] + (loop.classes == nullptr ? 0u : loop.classes[i] * 256u);
    std::uint32_t& lane = x[i % kGroup];
    lane = encode_byte(lane, loop.reciprocals[entry], loop.ranges[entry], words);
  }
  states = x;
  return words;
}

std::size_t decode_groups_portable(const ByteDecodeLoop& loop, std::size_t groups, LaneStates& states,
                                   const std::byte*& words, const std::byte* end) {
  LaneStates lanes = states;
  const std::byte* from = words;
  std::size_t group = 0;
  for (; group < groups && static_cast<std::size_t>(end - from) >= 2 * kGroup; ++group) {
    const std::size_t first = group * kGroup;
    for (std::size_t lane = 0; lane < kGroup; ++lane) {
      const std::uint32_t x = lanes[lane];
      const std::uint32_t table =
          loop.classes == nullptr ? 0u : loop.classes[first + lane] * kProbabilityScale;
      const std::uint32_t entry = loop.slots[table + (x & (kProbabilityScale - 1))];
      const std::uint32_t next = ((entry >> 8 & 0xfff) + 1) * (x >> kProbabilityBits) + (entry >> 20);
      std::uint16_t word;
      std::memcpy(&word, from, sizeof(word));
      const bool refill = next < kRansLow;
      lanes[lane] = refill ? next << 16 | word : next;
      from += refill ? 2 : 0;
      loop.out[first + lane] = static_cast<std::uint8_t>(entry);
    }
  }
  states = lanes;
  words = from;
  return group;
}

std::size_t byte_chunk_bound(std::size_t symbols, int lanes) {
  return 4 * static_cast<std::size_t>(lanes) + 2 * symbols;
}

std::size_t encode_byte_chunk(std::span<const std::uint8_t> symbols, const ByteChunkForm& form,
                              const ByteEncodeTables& tables, CpuPath path, std::vector<std::uint16_t>& words,
                              std::byte* out) {
  const auto lanes = static_cast<std::size_t>(form.lanes);
  words.resize(std::max(words.size(), symbols.size() + kOverwrittenWords));
  LaneStates states;
  states.fill(kRansLow);
  std::uint16_t* last = words.data();
  const std::size_t groups = lanes == kGroup ? symbols.size() / kGroup : 0;
  for (std::size_t i = symbols.size(); i-- > groups * kGroup;) {
    const std::size_t entry = symbols[i] + (form.classes == nullptr ? 0u : form.classes[i] * 256u);
    std::uint32_t& x = states[i % lanes];
    x = encode_byte(x, tables.reciprocals()[entry], tables.ranges()[entry], last);
  }
  if (groups > 0) {
    const ByteEncodeLoop loop{symbols.data(), form.classes, tables.reciprocals(), tables.ranges()};
    last = byte_loops(path).encode(loop, groups, states, last);
  }
  std::memcpy(out, states.data(), 4 * lanes);
  std::byte* to = out + 4 * lanes;
  for (const std::uint16_t* word = last; word != words.data(); to += 2) std::memcpy(to, --word, 2);
  return static_cast<std::size_t>(to - out);
}

Result<void> decode_byte_chunk(ByteSpan chunk, const ByteChunkForm& form, const ByteDecodeTables& tables,
                               CpuPath path, std::span<std::uint8_t> out) {
  const auto lanes = static_cast<std::size_t>(form.lanes);
  if (chunk.size() < 4 * lanes || chunk.size() % 2 != 0) return broken();
  LaneStates states;
  std::memcpy(states.data(), chunk.data(), 4 * lanes);
  const auto used = std::span(states).first(lanes);
  if (std::any_of(used.begin(), used.end(), [](std::uint32_t x) { return x < kRansLow; })) return broken();
  const std::byte* words = chunk.data() + 4 * lanes;
  const std::byte* const end = chunk.data() + chunk.size();
  std::size_t done = 0;
  if (lanes == kGroup) {
    const ByteDecodeLoop loop{tables.slots(), form.classes, out.data()};
    done = kGroup * byte_loops(path).decode(loop, out.size() / kGroup, states, words, end);
  }
  for (std::size_t i = done; i < out.size(); ++i) {
    std::uint32_t& x = states[i % lanes];
    const std::uint32_t table = form.classes == nullptr ? 0u : form.classes[i] * kProbabilityScale;
    const std::uint32_t entry = tables.slots()[table + (x & (kProbabilityScale - 1))];
    x = ((entry >> 8 & 0xfff) + 1) * (x >> kProbabilityBits) + (entry >> 20);
    out[i] = static_cast<std::uint8_t>(entry);
    if (x >= kRansLow) continue;
    if (words == end) return broken();
    std::uint16_t word;
    std::memcpy(&word, words, sizeof(word));
    words += 2;
    x = x << 16 | word;
  }
  const bool at_start = std::all_of(used.begin(), used.end(), [](std::uint32_t x) { return x == kRansLow; });
  if (words != end || !at_start) return broken();
  return {};
}

}  // namespace pinion::codec
