#include "pinion/codec/entropy/rans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pinion::codec {
namespace {

// How many bits the data would grow if this symbol's frequency fell by one.
double loss_of_one(std::uint64_t count, std::uint16_t frequency) {
  if (frequency <= 1) return std::numeric_limits<double>::infinity();
  return static_cast<double>(count) * std::log2(static_cast<double>(frequency) / (frequency - 1));
}

double gain_of_one(std::uint64_t count, std::uint16_t frequency) {
  return static_cast<double>(count) * std::log2((frequency + 1.0) / frequency);
}

}  // namespace

Frequencies normalise_counts(std::span<const std::uint64_t> counts) {
  PINION_ASSERT(counts.size() <= kMaxAlphabet);
  const auto total = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  PINION_ASSERT(total > 0);
  Frequencies frequencies(counts.size());
  std::int64_t sum = 0;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    if (counts[s] == 0) continue;
    const double share = static_cast<double>(counts[s]) / static_cast<double>(total) * kProbabilityScale;
    frequencies[s] =
        static_cast<std::uint16_t>(std::clamp(std::floor(share + 0.5), 1.0, double{kProbabilityScale}));
    sum += frequencies[s];
  }
  // Rounding leaves the sum off by at most half the alphabet: give or take
  // where it costs least.
  for (; sum > kProbabilityScale; --sum) {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t s = 0; s < counts.size(); ++s) {
      if (counts[s] == 0) continue;
      if (const double loss = loss_of_one(counts[s], frequencies[s]); loss < least) least = loss, best = s;
    }
    --frequencies[best];
  }
  for (; sum < kProbabilityScale; ++sum) {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      if (counts[s] == 0) continue;
      if (const double gain = gain_of_one(counts[s], frequencies[s]); gain > most) most = gain, best = s;
    }
    ++frequencies[best];
  }
  return frequencies;
}

double symbol_cost_bits(std::uint32_t frequency) {
  return kProbabilityBits - std::log2(static_cast<double>(frequency));
}

DecodeTable::DecodeTable(const Frequencies& frequencies) : entries_(kProbabilityScale) {
  std::size_t slot = 0;
  for (std::size_t s = 0; s < frequencies.size(); ++s) {
    for (std::uint16_t i = 0; i < frequencies[s]; ++i) {
      PINION_ASSERT(slot < entries_.size());
      entries_[slot++] = {static_cast<std::uint8_t>(s), frequencies[s], i};
    }
  }
  PINION_ASSERT(slot == entries_.size());
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

Result<void> ChunkDecoder::finish() const {
  const auto used = std::span(states_).first(static_cast<std::size_t>(lanes_));
  const bool at_start = std::all_of(used.begin(), used.end(), [](std::uint32_t x) { return x == kRansLow; });
  if (!failed_ && next_word_ == word_count_ && at_start) return {};
  return Error{Errc::kBadFormat, "a coded chunk does not end where it should", ""};
}

}  // namespace pinion::codec
