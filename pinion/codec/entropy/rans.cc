#include "pinion/codec/entropy/rans.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pinion/codec/entropy/byte_loops.h"
#include "pinion/codec/entropy/byte_tables.h"

namespace pinion::codec {
Frequencies normalise_counts(std::span<const std::uint64_t> counts) {
  PINION_ASSERT(counts.size() <= kMaxAlphabet);
  Frequencies frequencies(counts.size());
  // Symbols that deserve less than 1 get 1, the others share the rest; some of these may now deserve less.
  std::uint64_t shared = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  std::uint64_t slots = kProbabilityScale;
  PINION_ASSERT(shared > 0);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      if (counts[s] == 0 || frequencies[s] != 0 || counts[s] >= (shared + slots - 1) / slots) continue;
      frequencies[s] = 1;
      shared -= counts[s];
      --slots;
      changed = true;
    }
  }
  // Each of these gets the slots between the rounded sums before and behind it: at least one.
  std::uint64_t sum = 0, start = 0;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] == 0 || frequencies[s] != 0) continue;
    sum += counts[s];
    const std::uint64_t end = (sum * slots + shared / 2) / shared;
    frequencies[s] = static_cast<std::uint16_t>(end - start);
    start = end;
  }
  return frequencies;
}

double symbol_cost_bits(std::uint32_t frequency) {
  return kProbabilityBits - std::log2(static_cast<double>(frequency));
}

EncodeTable::EncodeTable(const Frequencies& frequencies) : entries_(frequencies.size()) {
  std::uint32_t start = 0;
  for (std::size_t s = 0; s < frequencies.size(); ++s) {
    const std::uint32_t f = frequencies[s];
    EncodeEntry& entry = entries_[s];
    entry.frequency = f;
    entry.complement = kProbabilityScale - f;
    entry.bias = start;
    if (f > 0) entry.reciprocal = ((std::uint64_t{1} << kReciprocalBits) + f - 1) / f;
    start += f;
  }
}

void ChunkEncoder::put_run(const ByteEncodeTables& table, std::span<const std::uint8_t> symbols) {
  const auto lanes = static_cast<std::size_t>(lanes_);
  const std::size_t begin = words_.size();
  words_.resize(begin + symbols.size() + kOverwrittenWords);
  std::uint16_t* words = words_.data() + begin;
  const std::size_t groups = lanes == kMaxLanes ? symbols.size() / lanes : 0;
  for (std::size_t i = symbols.size(); i-- > groups * lanes;) {
    std::uint32_t& x = states_[i % lanes];
    x = encode_byte(x, table.reciprocals()[symbols[i]], table.ranges()[symbols[i]], words);
  }
  if (groups > 0) {
    const ByteEncodeLoop loop{symbols.data(), nullptr, table.reciprocals(), table.ranges()};
    words = byte_loops(best_cpu_path()).encode(loop, groups, states_, words);
  }
  words_.resize(static_cast<std::size_t>(words - words_.data()));
}

std::size_t ChunkEncoder::finish(ByteWriter& out) const {
  const std::size_t before = out.size();
  for (int lane = 0; lane < lanes_; ++lane) out.write(states_[static_cast<std::size_t>(lane)]);
  for (auto word = words_.rbegin(); word != words_.rend(); ++word) out.write(*word);
  return out.size() - before;
}

Result<ChunkDecoder> ChunkDecoder::open(ByteSpan chunk, int lanes) {
  PINION_ASSERT(lanes >= 1 && lanes <= kMaxLanes);
  ByteReader reader(chunk);
  ChunkDecoder decoder;
  decoder.lanes_ = lanes;
  for (int lane = 0; lane < lanes; ++lane) {
    decoder.states_[static_cast<std::size_t>(lane)] = reader.read<std::uint32_t>();
    if (!reader.failed() && decoder.states_[static_cast<std::size_t>(lane)] < kRansLow) {
      return Error{Errc::kBadFormat, "a coded chunk starts with an impossible state", ""};
    }
  }
  PINION_TRY_VOID(reader.check("coded chunk"));
  if (reader.remaining() % 2 != 0) return Error{Errc::kBadFormat, "a coded chunk has an odd size", ""};
  decoder.words_ = chunk.data() + reader.offset();
  decoder.word_count_ = reader.remaining() / 2;
  return decoder;
}

void ChunkDecoder::get_group(const std::uint32_t* slots, std::size_t count, std::uint8_t* symbols) {
  if (count == kMaxLanes && word_count_ - next_word_ >= count) {
    const std::byte* words = words_ + 2 * next_word_;
    byte_loops(best_cpu_path())
        .decode({slots, nullptr, symbols}, 1, states_, words, words_ + 2 * word_count_);
    next_word_ = static_cast<std::size_t>(words - words_) / 2;
    return;
  }
  for (std::size_t lane = 0; lane < count; ++lane) symbols[lane] = get(static_cast<int>(lane), slots);
}

Result<void> ChunkDecoder::finish() const {
  const auto used = std::span(states_).first(static_cast<std::size_t>(lanes_));
  const bool at_start = std::all_of(used.begin(), used.end(), [](std::uint32_t x) { return x == kRansLow; });
  if (!failed_ && next_word_ == word_count_ && at_start) return {};
  return Error{Errc::kBadFormat, "a coded chunk does not end where it should", ""};
}

}  // namespace pinion::codec
