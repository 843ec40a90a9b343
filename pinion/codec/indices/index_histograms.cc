#include "pinion/codec/indices/index_histograms.h"

#include <cmath>

#include "pinion/codec/indices/index_coding.h"

namespace pinion::codec {
namespace {

constexpr std::uint32_t kSmall = 256;

}  // namespace

void IndexHistograms::add(IndexClass index_class, std::uint32_t size, std::uint64_t count) {
  const int shift = split_class(index_class).shift;
  const auto high = static_cast<std::uint32_t>(high_part(static_cast<std::int32_t>(size), shift));
  Histogram& histogram = by_class_[index_class];
  histogram.total += count;
  if (high > 0) histogram.signs += count;
  if (high >= kSmall) {
    histogram.large[high] += count;
  } else {
    if (histogram.small.size() <= high) histogram.small.resize(high + 1);
    histogram.small[high] += count;
  }
}

double IndexHistograms::bits() const {
  double bits = 0;
  for (const auto& [index_class, histogram] : by_class_) {
    const auto total = static_cast<double>(histogram.total);
    const auto add_entropy = [&](std::uint64_t count) {
      if (count > 0) bits += static_cast<double>(count) * std::log2(total / static_cast<double>(count));
    };
    for (const std::uint64_t count : histogram.small) add_entropy(count);
    for (const auto& [size, count] : histogram.large) add_entropy(count);
    bits += static_cast<double>(histogram.signs) + total * split_class(index_class).shift;
  }
  return bits;
}

}  // namespace pinion::codec
