#include "pinion/codec/lossless/plane_classes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "pinion/codec/lossless/lossless.h"

namespace pinion::codec {
namespace {

using Histogram = std::array<std::uint64_t, kMaxAlphabet>;

constexpr std::size_t kMinRows = 16;  // below, a map of channels costs more than it saves
constexpr std::size_t kMaxSampledRows = 1024;
constexpr std::size_t kMaxGroupedChannels = 16384;
constexpr double kTableBitsPerSymbol = 12;  // of one used symbol in a written table, about
constexpr int kRefinements = 3;

double table_bits(const Histogram& counts) {
  return kTableBitsPerSymbol * static_cast<double>(std::count_if(counts.begin(), counts.end(),
                                                                 [](auto count) { return count > 0; }));
}

double entropy_bits(const Histogram& counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  double bits = 0;
  for (const std::uint64_t count : counts) {
    if (count > 0) bits += static_cast<double>(count) * std::log2(total / static_cast<double>(count));
  }
  return bits;
}

// Histograms of every channel over a sample of the rows, as used symbols only.
class ChannelHistograms {
 public:
  ChannelHistograms(std::span<const std::uint8_t> plane, std::size_t channels) : counts_(channels) {
    const std::size_t rows = plane.size() / channels;
    const std::size_t stride = (rows - 1) / kMaxSampledRows + 1;
    for (std::size_t row = 0; row < rows; row += stride) {
      for (std::size_t c = 0; c < channels; ++c) ++counts_[c][plane[row * channels + c]];
    }
    for (const auto& counts : counts_) {
      for (std::size_t s = 0; s < counts.size(); ++s) {
        if (counts[s] > 0) used_[s] = true;
      }
    }
    for (std::size_t s = 0; s < used_.size(); ++s) {
      if (used_[s]) symbols_.push_back(s);
    }
  }

  std::size_t channels() const { return counts_.size(); }

  double mean(std::size_t channel) const {
    double sum = 0, total = 0;
    for (const std::size_t s : symbols_) {
      sum += static_cast<double>(s) * counts_[channel][s];
      total += counts_[channel][s];
    }
    return sum / total;
  }

  void add_to(Histogram& histogram, std::size_t channel) const {
    for (const std::size_t s : symbols_) histogram[s] += counts_[channel][s];
  }

  double cost(std::size_t channel, const std::array<float, kMaxAlphabet>& bits) const {
    double sum = 0;
    for (const std::size_t s : symbols_) sum += static_cast<double>(counts_[channel][s]) * bits[s];
    return sum;
  }

 private:
  std::vector<std::array<std::uint32_t, kMaxAlphabet>> counts_;
  std::array<bool, kMaxAlphabet> used_{};
  std::vector<std::size_t> symbols_;
};

// Bits of each symbol under smoothed counts, so that a symbol a class has not
// seen is dear, not impossible.
std::array<float, kMaxAlphabet> costs_of(const Histogram& counts) {
  constexpr double kSmoothing = 0.05;
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  std::array<float, kMaxAlphabet> bits{};
  for (std::size_t s = 0; s < bits.size(); ++s) {
    bits[s] = static_cast<float>(
        std::log2((total + kSmoothing * kMaxAlphabet) / (static_cast<double>(counts[s]) + kSmoothing)));
  }
  return bits;
}

// Channels in `classes` groups: first by their mean, then each to the table
// that codes it best.
std::vector<std::uint8_t> group(const ChannelHistograms& histograms, std::span<const std::size_t> by_mean,
                                int classes) {
  std::vector<std::uint8_t> assigned(by_mean.size());
  for (std::size_t i = 0; i < by_mean.size(); ++i) {
    assigned[by_mean[i]] = static_cast<std::uint8_t>(i * static_cast<std::size_t>(classes) / by_mean.size());
  }
  for (int round = 0; round < kRefinements; ++round) {
    std::vector<Histogram> pooled(static_cast<std::size_t>(classes));
    for (std::size_t c = 0; c < assigned.size(); ++c) histograms.add_to(pooled[assigned[c]], c);
    std::vector<std::array<float, kMaxAlphabet>> costs;
    for (const Histogram& counts : pooled) costs.push_back(costs_of(counts));
    for (std::size_t c = 0; c < assigned.size(); ++c) {
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t k = 0; k < costs.size(); ++k) {
        if (const double cost = histograms.cost(c, costs[k]); cost < least) {
          least = cost;
          assigned[c] = static_cast<std::uint8_t>(k);
        }
      }
    }
  }
  return assigned;
}

// Drops classes that no channel uses; returns how many are left.
std::size_t compact(std::vector<std::uint8_t>& assigned) {
  std::array<int, kMaxPlaneClasses> renamed{};
  renamed.fill(-1);
  int next = 0;
  for (std::uint8_t& k : assigned) {
    if (renamed[k] < 0) renamed[k] = next++;
    k = static_cast<std::uint8_t>(renamed[k]);
  }
  return static_cast<std::size_t>(next);
}

struct Pooled {
  std::vector<Histogram> counts;
  double bits = 0;
};

// Exact counts of every class over the whole plane, and what coding it with
// them takes.
Pooled pool(std::span<const std::uint8_t> plane, std::span<const std::uint8_t> assigned,
            std::size_t classes) {
  Pooled pooled;
  pooled.counts.resize(classes);
  if (classes == 1) {
    std::array<std::array<std::uint32_t, kMaxAlphabet>, 4>
        parts{};  // four, so that runs do not wait on one counter
    for (std::size_t begin = 0; begin < plane.size();) {
      const std::size_t end = std::min(plane.size(), begin + (std::size_t{1} << 30));
      for (; begin < end; ++begin) ++parts[begin % 4][plane[begin]];
      for (auto& part : parts) {
        for (std::size_t s = 0; s < part.size(); ++s) pooled.counts[0][s] += part[s];
        part.fill(0);
      }
    }
  } else {
    for (std::size_t begin = 0; begin < plane.size(); begin += assigned.size()) {
      for (std::size_t c = 0; c < assigned.size(); ++c) ++pooled.counts[assigned[c]][plane[begin + c]];
    }
    const auto width = static_cast<double>(std::bit_width(static_cast<unsigned>(classes - 1)));
    pooled.bits += width * static_cast<double>(assigned.size());
  }
  for (const Histogram& counts : pooled.counts) pooled.bits += entropy_bits(counts) + table_bits(counts);
  return pooled;
}

}  // namespace

PlaneClasses choose_classes(std::span<const std::uint8_t> plane, std::size_t channels) {
  PINION_ASSERT(!plane.empty() && plane.size() % channels == 0);
  Pooled best = pool(plane, {}, 1);
  PlaneClasses chosen;
  if (plane.size() / channels >= kMinRows && channels > 1 && channels <= kMaxGroupedChannels) {
    const ChannelHistograms histograms(plane, channels);
    std::vector<std::size_t> by_mean(channels);
    std::iota(by_mean.begin(), by_mean.end(), std::size_t{0});
    std::vector<double> means;
    for (std::size_t c = 0; c < channels; ++c) means.push_back(histograms.mean(c));
    std::stable_sort(by_mean.begin(), by_mean.end(), [&](auto a, auto b) { return means[a] < means[b]; });
    for (const int classes : {4, kMaxPlaneClasses}) {
      std::vector<std::uint8_t> assigned = group(histograms, by_mean, classes);
      const std::size_t used = compact(assigned);
      if (used < 2) continue;
      Pooled pooled = pool(plane, assigned, used);
      if (pooled.bits >= best.bits) continue;
      best = std::move(pooled);
      chosen.class_of_channel = std::move(assigned);
    }
  }
  for (const Histogram& counts : best.counts) chosen.tables.push_back(normalise_counts(counts));
  chosen.coded_bits = best.bits;
  return chosen;
}

}  // namespace pinion::codec
