#include "pinion/codec/cuda/class_prices.h"

#include <algorithm>
#include <cmath>

#include "pinion/codec/cuda/index_tables_on_device.h"
#include "pinion/codec/cuda/magnitude_bins.h"
#include "pinion/codec/indices/index_coding.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kBinSamples = 8;  // of a bin's magnitudes, by which it is priced

// Bits of an index of that size under a class, on either side of 0 as often.
float index_bits(std::uint32_t magnitude, ClassCode code) {
  float bits = 0;
  for (const int sign : {-1, 1}) {
    const int high = high_part(sign * static_cast<int>(magnitude), code.shift), size = std::abs(high);
    const IndexTable& table = *code.table;
    bits += static_cast<float>(code.shift);
    if (size <= table.half) {
      bits += table.cost_bits[static_cast<std::size_t>(high + table.half)];
    } else {
      bits += table.cost_bits.back() +
              static_cast<float>(kEscapeHeadBits + floor_log2(static_cast<std::uint32_t>(size - table.half)));
    }
  }
  return bits / 2;
}

}  // namespace

std::vector<float> class_costs(IndexTables& tables) {
  std::vector<float> costs(std::size_t{kClassShapes} * kClassScales * kMagnitudeBins);
  for (std::uint8_t shape = 0; shape < kClassShapes; ++shape) {
    for (int scale = 1; scale < static_cast<int>(kClassScales); ++scale) {
      const auto bounded = static_cast<std::uint8_t>(std::min(scale, max_scale(shape)));
      const ClassCode code = tables.get({shape, bounded});
      for (std::uint32_t bin = 0; bin < kMagnitudeBins; ++bin) {
        const std::uint32_t begin = bin_begin(bin), count = std::min(kBinSamples, bin_begin(bin + 1) - begin);
        float sum = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
          const std::uint32_t width = bin_begin(bin + 1) - begin;
          sum += index_bits(begin + static_cast<std::uint32_t>(std::uint64_t{width} * i / count), code);
        }
        costs[(shape * kClassScales + static_cast<std::uint32_t>(scale)) * kMagnitudeBins + bin] =
            sum / static_cast<float>(count);
      }
    }
  }
  return costs;
}

std::vector<std::uint16_t> class_codes() {
  std::vector<std::uint16_t> codes(std::size_t{kClassShapes} * kClassScales, kNoIndexClass);
  for (std::uint8_t shape = 0; shape < kClassShapes; ++shape) {
    for (std::uint8_t scale = 1; scale <= max_scale(shape); ++scale)
      codes[shape * kClassScales + scale] = code_of_class({shape, scale});
  }
  return codes;
}

}  // namespace pinion::codec::cuda
