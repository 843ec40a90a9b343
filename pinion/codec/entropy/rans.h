#pragma once
// Interleaved rANS with static 12-bit tables (docs/format.md §4): the tables,
// one lane's operations, and the word sequence of a chunk. No allocation in the
// per-symbol operations; not thread-safe.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "pinion/base/bytes.h"

namespace pinion::codec {

inline constexpr int kProbabilityBits = 12;
inline constexpr std::uint32_t kProbabilityScale = 1u << kProbabilityBits;
inline constexpr std::uint32_t kRansLow = 1u << 16;
inline constexpr int kMaxLanes = 32;
inline constexpr std::size_t kMaxAlphabet = 256;

// Frequencies of the symbols of an alphabet; the sum is kProbabilityScale.
using Frequencies = std::vector<std::uint16_t>;

// Scales counts, whose sum is below 2^51, to frequencies with sum kProbabilityScale; every count > 0 gets a
// frequency ≥ 1. At most kMaxAlphabet counts, of which at least one is positive.
Frequencies normalise_counts(std::span<const std::uint64_t> counts);

// What one symbol of `count` occurrences costs under a table, in bits.
double symbol_cost_bits(std::uint32_t frequency);

// x / f by a multiplication. The encoder divides x < f 2^20 by f ≤ 2^12: x
// ceil(2^44 / f) stays below 2^64, and its excess over 2^44 x / f is below x ≤
// 2^44 / f, too small to reach the next integer.
inline constexpr int kReciprocalBits = 44;

struct EncodeEntry {
  std::uint64_t reciprocal;  // ceil(2^44 / frequency): see kReciprocalBits
  std::uint32_t bias;
  std::uint32_t frequency;
  std::uint32_t complement;  // kProbabilityScale - frequency
};

class EncodeTable {
 public:
  explicit EncodeTable(const Frequencies& frequencies);
  const EncodeEntry& operator[](std::size_t symbol) const { return entries_[symbol]; }
  std::size_t size() const { return entries_.size(); }

 private:
  std::vector<EncodeEntry> entries_;
};

class ByteEncodeTables;

// Collects a chunk from its last operation to its first.
class ChunkEncoder {
 public:
  explicit ChunkEncoder(int lanes) : lanes_(lanes) { states_.fill(kRansLow); }

  // Symbols from the last to the first, each on the lane of its place modulo the number of lanes: the same as
  // put() for each of them.
  void put_run(const ByteEncodeTables& table, std::span<const std::uint8_t> symbols);

  void put(int lane, const EncodeEntry& entry) {
    std::uint32_t x = states_[static_cast<std::size_t>(lane)];
    const std::uint64_t limit = static_cast<std::uint64_t>(entry.frequency) << (32 - kProbabilityBits);
    if (x >= limit) {
      words_.push_back(static_cast<std::uint16_t>(x));
      x >>= 16;
    }
    const auto quotient = static_cast<std::uint32_t>((x * entry.reciprocal) >> kReciprocalBits);
    states_[static_cast<std::size_t>(lane)] = x + entry.bias + quotient * entry.complement;
  }

  void put_bits(int lane, std::uint32_t value, int bits) {
    std::uint32_t x = states_[static_cast<std::size_t>(lane)];
    if (static_cast<std::uint64_t>(x) >= (1ull << (32 - bits))) {
      words_.push_back(static_cast<std::uint16_t>(x));
      x >>= 16;
    }
    states_[static_cast<std::size_t>(lane)] = (x << bits) | value;
  }

  // Appends the finished chunk and returns its size in bytes.
  std::size_t finish(ByteWriter& out) const;

 private:
  int lanes_;
  std::array<std::uint32_t, kMaxLanes> states_{};
  std::vector<std::uint16_t> words_;  // in reverse
};

// Takes a chunk apart, first operation first. A chunk that is too short sets a
// sticky failure and gives zeros.
class ChunkDecoder {
 public:
  static Result<ChunkDecoder> open(ByteSpan chunk, int lanes);

  // `slots` are those of a ByteDecodeTables.
  std::uint8_t get(int lane, const std::uint32_t* slots) {
    std::uint32_t& x = states_[static_cast<std::size_t>(lane)];
    const std::uint32_t entry = slots[x & (kProbabilityScale - 1)];
    x = ((entry >> 8 & 0xfff) + 1) * (x >> kProbabilityBits) + (entry >> 20);
    renormalise(x);
    return static_cast<std::uint8_t>(entry);
  }

  // The same for `count` lanes from the first on, as many as there are at most.
  void get_group(const std::uint32_t* slots, std::size_t count, std::uint8_t* symbols);

  std::uint32_t get_bits(int lane, int bits) {
    std::uint32_t& x = states_[static_cast<std::size_t>(lane)];
    const std::uint32_t value = x & ((1u << bits) - 1);
    x >>= bits;
    renormalise(x);
    return value;
  }

  // kBadFormat unless the chunk was used up exactly.
  Result<void> finish() const;

 private:
  void renormalise(std::uint32_t& x) {
    if (x >= kRansLow) return;
    if (next_word_ >= word_count_) {
      failed_ = true;
      x = kRansLow;
      return;
    }
    std::uint16_t word;
    std::memcpy(&word, words_ + 2 * next_word_++, sizeof(word));
    x = (x << 16) | word;
  }

  const std::byte* words_ = nullptr;
  std::size_t word_count_ = 0;
  std::size_t next_word_ = 0;
  int lanes_ = 1;
  bool failed_ = false;
  std::array<std::uint32_t, kMaxLanes> states_{};
};

}  // namespace pinion::codec
