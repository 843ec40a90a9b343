#include "pinion/codec/index_tables.h"

#include <algorithm>
#include <array>

#include "pinion/base/assert.h"

namespace pinion::codec {
namespace {

constexpr int kWeightBits = 30;

// round(2^30 * 2^(-1/2^j)), j = 1 .. 16.
constexpr std::array<std::uint32_t, 16> kRoots = {
    759250125,  902905651,  984625594,  1028218693, 1050733751, 1062175491, 1067942999, 1070838486,
    1072289173, 1073015252, 1073378477, 1073560135, 1073650976, 1073696399, 1073719111, 1073730468};

// round(2^16 * 2^(j/4)), j = 0 .. 3.
constexpr std::array<std::uint32_t, 4> kQuarters = {65536, 77936, 92682, 110218};

// lambda of a scale is 2^((kScaleZeroQuarters - scale) / 4), as a fraction of 2^16.
constexpr int kScaleZeroQuarters = 15;

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

std::uint64_t lambda_of(int scale) {
  const int quarters = kScaleZeroQuarters - scale;
  const int octave = quarters >> 2;
  const std::uint64_t mantissa = kQuarters[static_cast<std::size_t>(quarters & 3)];
  return octave >= 0 ? mantissa << octave : mantissa >> -octave;
}

std::uint64_t weight(IndexClass base, std::uint64_t n) {
  std::uint64_t power = std::uint64_t{1} << 16;
  for (int i = 0; i <= base.shape; ++i) power *= n;
  return power_of_half((lambda_of(base.scale) * integer_root(power)) >> 8);
}

}  // namespace

int base_scales(int shape) {
  constexpr std::array<int, kShapes> kBaseScales = {13, 23, 32, 41};
  return kBaseScales[static_cast<std::size_t>(shape)];
}

int max_scale(int shape) { return base_scales(shape) + 2 * (shape + 1) * kMaxShift; }

SplitClass split_class(IndexClass index_class) {
  const int octave = 2 * (index_class.shape + 1);  // scales in which the width doubles
  const int over = index_class.scale - base_scales(index_class.shape);
  const int shift = over <= 0 ? 0 : (over + octave - 1) / octave;
  return {{index_class.shape, static_cast<std::uint8_t>(index_class.scale - octave * shift)}, shift};
}

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

IndexTable::IndexTable(IndexClass base)
    : half(0), frequencies(index_frequencies(base)), encode(frequencies), decode(frequencies) {
  half = static_cast<int>(frequencies.size()) / 2 - 1;
  for (const std::uint16_t frequency : frequencies)
    cost_bits.push_back(static_cast<float>(symbol_cost_bits(frequency)));
}

const IndexTable& IndexTables::get(IndexClass index_class) {
  PINION_ASSERT(index_class.scale >= 1);
  std::unique_ptr<IndexTable>& table = tables_[split_class(index_class).base];
  if (!table) table = std::make_unique<IndexTable>(split_class(index_class).base);
  return *table;
}

}  // namespace pinion::codec
