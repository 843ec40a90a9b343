#include "pinion/codec/reference/reference_coding.h"

#include <algorithm>
#include <array>

namespace pinion::codec {
namespace {

constexpr std::uint32_t kTableSum = 4096;
constexpr std::uint32_t kLowestState = 1u << 16;
constexpr int kMaxEscapeBits = 27;
constexpr std::int64_t kMaxValue = (1 << 26) - 1;
constexpr int kMaxHalf = 126;

}  // namespace

// ---- §4.2 A chunk

Result<ReferenceChunk> ReferenceChunk::open(ReferenceReader bytes, std::size_t lanes) {
  ReferenceChunk chunk(bytes);
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    PINION_TRY(const std::uint64_t state,
               chunk.words_.number("state of lane " + std::to_string(lane), 4, {kLowestState, 0xffffffff}));
    chunk.states_.push_back(static_cast<std::uint32_t>(state));
  }
  if (chunk.words_.remaining() % 2 != 0) return refused("a chunk ends in half a word");
  return chunk;
}

Result<void> ReferenceChunk::renormalise(std::uint32_t& x) {
  if (x >= kLowestState) return {};
  PINION_TRY(const std::uint64_t word, words_.number("word", 2));
  x = (x << 16) + static_cast<std::uint32_t>(word);
  return {};
}

Result<std::uint32_t> ReferenceChunk::symbol(std::size_t lane, const ReferenceTable& table) {
  std::uint32_t& x = states_[lane];
  const std::uint32_t t = x % kTableSum;
  std::uint32_t s = 0, start = 0;
  for (; t >= start + table[s]; ++s) start += table[s];
  x = table[s] * (x >> 12) + t - start;
  if (words_.logs())
    words_.remark("operations", "lane " + std::to_string(lane) + ": symbol " + std::to_string(s));
  PINION_TRY_VOID(renormalise(x));
  return s;
}

Result<std::uint32_t> ReferenceChunk::bits(std::size_t lane, int count) {
  std::uint32_t& x = states_[lane];
  const std::uint32_t value = x % (1u << count);
  x >>= count;
  if (words_.logs())
    words_.remark("operations", "lane " + std::to_string(lane) + ": bits " + std::to_string(value));
  PINION_TRY_VOID(renormalise(x));
  return value;
}

Result<void> ReferenceChunk::end() const {
  const bool at_start =
      std::all_of(states_.begin(), states_.end(), [](std::uint32_t x) { return x == kLowestState; });
  if (!at_start) return refused("a lane of a chunk does not end in state 2^16");
  return words_.end("a chunk");
}

// ---- §6.2 Classes and tables

int reference_base_scale(int shape) {
  constexpr std::array<int, kReferenceShapes> kBase = {13, 23, 25, 26};
  return kBase[static_cast<std::size_t>(shape)];
}

int reference_max_scale(int shape) { return reference_base_scale(shape) + 64; }

Result<ReferenceClass> read_reference_class(ReferenceReader& in, std::string_view name) {
  PINION_TRY(const std::uint64_t shape, in.bits(std::string(name) + " shape", 2));
  const auto most = static_cast<std::uint64_t>(reference_max_scale(static_cast<int>(shape)));
  PINION_TRY(const std::uint64_t scale, in.bits(std::string(name) + " scale", 8, {0, most}));
  return ReferenceClass{static_cast<int>(shape), static_cast<int>(scale)};
}

namespace {

// Step 1: in units of 2^-16.
std::uint64_t lambda(int shape, int scale) {
  constexpr std::array<std::uint64_t, 8> kEighth = {65536, 71468,  77936,  84990,
                                                    92682, 101070, 110218, 120194};
  const int rare = std::min(scale, 11);
  const int e = 30 - 2 * rare - (shape + 1) * (scale - rare);
  const int octave = e >= 0 ? e / 8 : -((7 - e) / 8);
  const std::uint64_t eighth = kEighth[static_cast<std::size_t>(e - 8 * octave)];
  return octave >= 0 ? eighth << octave : eighth >> -octave;
}

// Step 2: n^((shape+1)/2) in units of 2^-8.
std::uint64_t root(int shape, std::uint64_t n) {
  std::uint64_t square = 1 << 16;
  for (int i = 0; i < shape + 1; ++i) square *= n;
  // The largest number whose square is not above it, by halving.
  std::uint64_t least = 0, above = std::uint64_t{1} << 31;
  while (above - least > 1) {
    const std::uint64_t middle = (least + above) / 2;
    (middle * middle <= square ? least : above) = middle;
  }
  return least;
}

// Step 3: 2^(-x / 2^16) in units of 2^-30.
std::uint64_t power(std::uint64_t x) {
  constexpr std::array<std::uint64_t, 16> kFactor = {
      759250125,  902905651,  984625594,  1028218693, 1050733751, 1062175491, 1067942999, 1070838486,
      1072289173, 1073015252, 1073378477, 1073560135, 1073650976, 1073696399, 1073719111, 1073730468};
  if (x >= std::uint64_t{31} << 16) return 0;
  std::uint64_t v = 1u << 30;
  for (std::size_t j = 1; j <= 16; ++j) {
    if ((x >> (16 - j)) & 1) v = (v * kFactor[j - 1] + (1u << 29)) >> 30;
  }
  return v >> (x >> 16);
}

}  // namespace

ReferenceTable reference_table(int shape, int scale) {
  std::array<std::uint64_t, 128> weight{};
  for (std::size_t n = 0; n < weight.size(); ++n)
    weight[n] = power((lambda(shape, scale) * root(shape, n)) >> 8);
  // Step 4.
  std::uint64_t total = weight[0];
  for (std::size_t n = 1; n < weight.size(); ++n) total += 2 * weight[n];
  const auto scaled = [total](std::uint64_t w) {
    return static_cast<std::uint32_t>((w * kTableSum + total / 2) / total);
  };
  // Step 5.
  std::size_t half = 1;
  while (half < kMaxHalf && scaled(weight[half + 1]) >= 1) ++half;
  // Step 6.
  ReferenceTable table(2 * half + 2);
  std::uint32_t sum = 0;
  for (std::size_t n = 1; n <= half; ++n) {
    table[half - n] = table[half + n] = std::max(1u, scaled(weight[n]));
    sum += 2 * table[half + n];
  }
  std::uint64_t tail = 0;
  for (std::size_t n = half + 1; n < weight.size(); ++n) tail += 2 * weight[n];
  table[2 * half + 1] = std::max(1u, scaled(tail));
  table[half] = kTableSum - sum - table[2 * half + 1];
  return table;
}

const ReferenceTable& ReferenceTables::get(int shape, int scale) {
  ReferenceTable& table = made_[{shape, scale}];
  if (table.empty()) table = reference_table(shape, scale);
  return table;
}

// ---- §6.3 Coded integers

Result<void> read_reference_run(ReferenceChunk& chunk, ReferenceClass run_class, ReferenceTables& tables,
                                std::string_view what, std::span<std::int64_t> values) {
  const int over = run_class.scale - reference_base_scale(run_class.shape);
  const int shift = over <= 0 ? 0 : (over + 3) / 4;
  const ReferenceTable& table = tables.get(run_class.shape, run_class.scale - 4 * shift);
  const std::int64_t half = static_cast<std::int64_t>(table.size()) / 2 - 1;
  const std::int64_t escape = 2 * half + 1;

  for (std::size_t begin = 0; begin < values.size(); begin += chunk.lanes()) {
    const std::size_t size = std::min(chunk.lanes(), values.size() - begin);
    struct Value {
      std::int64_t symbol = 0, low = 0, sign = 0, length = 0, e = 0;
    };
    std::vector<Value> group(size);
    for (std::size_t lane = 0; lane < size; ++lane) {  // step 1
      PINION_TRY(group[lane].symbol, chunk.symbol(lane, table));
    }
    for (std::size_t lane = 0; lane < size && shift > 0; ++lane) {  // step 2
      PINION_TRY(group[lane].low, chunk.bits(lane, shift));
    }
    for (std::size_t lane = 0; lane < size; ++lane) {  // step 3
      if (group[lane].symbol != escape) continue;
      PINION_TRY(const std::uint32_t head, chunk.bits(lane, 6));
      group[lane].sign = head & 1;
      group[lane].length = head >> 1;
      if (group[lane].length > kMaxEscapeBits) return refused("an escape is too long");
    }
    for (std::size_t lane = 0; lane < size; ++lane) {  // step 4
      if (group[lane].symbol != escape) continue;
      PINION_TRY(group[lane].e,
                 chunk.bits(lane, static_cast<int>(std::min<std::int64_t>(group[lane].length, 16))));
    }
    for (std::size_t lane = 0; lane < size; ++lane) {  // step 5
      if (group[lane].symbol != escape || group[lane].length <= 16) continue;
      PINION_TRY(const std::int64_t high, chunk.bits(lane, static_cast<int>(group[lane].length - 16)));
      group[lane].e += high << 16;
    }
    for (std::size_t lane = 0; lane < size; ++lane) {
      const Value& g = group[lane];
      std::int64_t h = g.symbol - half;
      if (g.symbol == escape) h = half + (std::int64_t{1} << g.length) + g.e;
      if (g.sign == 1) h = -h;
      const std::int64_t v = shift == 0 ? h : h * (1 << shift) + g.low - (1 << (shift - 1));
      if (v > kMaxValue || v < -kMaxValue) return refused("a coded integer is out of its range");
      values[begin + lane] = v;
    }
  }
  if (chunk.reader().logs()) {
    std::string text =
        "shape " + std::to_string(run_class.shape) + ", scale " + std::to_string(run_class.scale) + ":";
    for (const std::int64_t v : values) text += " " + std::to_string(v);
    chunk.reader().remark(what, text);
  }
  return {};
}

}  // namespace pinion::codec
