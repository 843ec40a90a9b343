#include "pinion/codec/indices/index_tables.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <mutex>

#include "pinion/base/assert.h"

namespace pinion::codec {
namespace {

constexpr int kWeightBits = 30;

// round(2^30 * 2^(-1/2^j)), j = 1 .. 16.
constexpr std::array<std::uint32_t, 16> kRoots = {
    759250125,  902905651,  984625594,  1028218693, 1050733751, 1062175491, 1067942999, 1070838486,
    1072289173, 1073015252, 1073378477, 1073560135, 1073650976, 1073696399, 1073719111, 1073730468};

// round(2^16 * 2^(j/8)), j = 0 .. 7.
constexpr std::array<std::uint32_t, 8> kEighths = {65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194};

constexpr int kZeroEighths = 30;  // log2 of the lambda of scale 0, in eighths

// 2^(-x / 2^16) as a fraction of 2^30.
std::uint64_t power_of_half(std::uint64_t x) {
  if (x >= (std::uint64_t{kWeightBits + 1} << 16)) return 0;
  std::uint64_t value = std::uint64_t{1} << kWeightBits;
  for (int j = 1; j <= 16; ++j) {
    if (x & (std::uint64_t{1} << (16 - j))) {
      value = (value * kRoots[static_cast<std::size_t>(j - 1)] + (1u << (kWeightBits - 1))) >> kWeightBits;
    }
  }
  return value >> (x >> 16);
}

std::uint64_t integer_root(std::uint64_t value) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit != 0; bit >>= 1) {
    if ((root | bit) * (root | bit) <= value) root |= bit;
  }
  return root;
}

// As a fraction of 2^16.
std::uint64_t lambda_of(IndexClass base) {
  const int rare = std::min<int>(base.scale, kRareScales);
  const int eighths = kZeroEighths - 2 * rare - (base.shape + 1) * (base.scale - rare);
  const int octave = eighths >> 3;
  const std::uint64_t mantissa = kEighths[static_cast<std::size_t>(eighths & 7)];
  return octave >= 0 ? mantissa << octave : mantissa >> -octave;
}

std::uint64_t weight(IndexClass base, std::uint64_t n) {
  std::uint64_t power = std::uint64_t{1} << 16;
  for (int i = 0; i <= base.shape; ++i) power *= n;
  return power_of_half((lambda_of(base) * integer_root(power)) >> 8);
}

}  // namespace

Frequencies index_frequencies(IndexClass base) {
  PINION_ASSERT(base.scale >= 1 && base.scale <= base_scales(base.shape));
  std::array<std::uint64_t, kMaxHalfAlphabet + 2> weights{};
  std::uint64_t total = 0;
  for (std::size_t n = 0; n < weights.size(); ++n) {
    weights[n] = weight(base, n);
    total += n == 0 ? weights[n] : 2 * weights[n];
  }
  const auto scaled = [total](std::uint64_t w) { return (w * kProbabilityScale + total / 2) / total; };
  std::size_t half = 1;
  while (half < kMaxHalfAlphabet && scaled(weights[half + 1]) >= 1) ++half;
  std::uint64_t tail = 0;
  for (std::size_t n = half + 1; n < weights.size(); ++n) tail += 2 * weights[n];

  Frequencies frequencies(2 * half + 2);
  std::uint64_t sum = 0;
  for (std::size_t n = 1; n <= half; ++n) {
    const std::uint64_t frequency = std::max<std::uint64_t>(scaled(weights[n]), 1);
    frequencies[half - n] = frequencies[half + n] = static_cast<std::uint16_t>(frequency);
    sum += 2 * frequency;
  }
  const std::uint64_t escape = std::max<std::uint64_t>(scaled(tail), 1);
  frequencies.back() = static_cast<std::uint16_t>(escape);
  PINION_ASSERT(sum + escape < kProbabilityScale);
  frequencies[half] = static_cast<std::uint16_t>(kProbabilityScale - sum - escape);
  return frequencies;
}

IndexTable::IndexTable(const Frequencies& frequencies)
    : half(static_cast<int>(frequencies.size()) / 2 - 1), encode(frequencies) {
  Frequencies of_bytes = frequencies;
  of_bytes.resize(kMaxAlphabet);
  run_encode.build({&of_bytes, 1});
  decode.build({&of_bytes, 1});
  for (const std::uint16_t frequency : frequencies) {
    cost_bits.push_back(static_cast<float>(symbol_cost_bits(frequency)));
  }
  for (int n = 0; n < kMagnitudes; ++n) {
    float& bits = size_cost_bits[static_cast<std::size_t>(n)];
    if (n <= half) {
      bits = cost_bits[static_cast<std::size_t>(half + n)];
      const int share = frequencies[static_cast<std::size_t>(half + n)];
      mean_size += static_cast<float>((n == 0 ? 1 : 2) * n * share) / kProbabilityScale;
    } else {
      const int length = std::bit_width(static_cast<unsigned>(n - half)) - 1;
      bits = cost_bits.back() + static_cast<float>(kEscapeHeadBits + length);
    }
  }
}

// A table that is there is read without the lock.
struct IndexTables::Tables {
  static constexpr std::size_t kMostScales = 32;
  std::array<std::array<std::atomic<const IndexTable*>, kMostScales>, kShapes>
      by_class{};  // shape, base scale
  std::mutex mutex;
  std::vector<std::unique_ptr<const IndexTable>> owned;  // guarded by mutex
};

IndexTables::IndexTables() : tables_(std::make_unique<Tables>()) {}
IndexTables::IndexTables(IndexTables&&) noexcept = default;
IndexTables& IndexTables::operator=(IndexTables&&) noexcept = default;
IndexTables::~IndexTables() = default;

ClassCode IndexTables::get(IndexClass index_class) {
  PINION_ASSERT(index_class.scale >= 1);
  const SplitClass split = split_class(index_class);
  PINION_ASSERT(split.base.scale < Tables::kMostScales);
  std::atomic<const IndexTable*>& place = tables_->by_class[split.base.shape][split.base.scale];
  const IndexTable* table = place.load(std::memory_order_acquire);
  if (table == nullptr) {
    const std::lock_guard lock(tables_->mutex);
    table = place.load(std::memory_order_relaxed);
    if (table == nullptr) {
      table = tables_->owned.emplace_back(std::make_unique<const IndexTable>(index_frequencies(split.base)))
                  .get();
      place.store(table, std::memory_order_release);
    }
  }
  return {table, split.shift};
}

}  // namespace pinion::codec
