#include "pinion/codec/lossless/plane_classes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <numeric>

#include "pinion/codec/lossless/symbol_classes.h"
#include "pinion/codec/math/fast_log.h"

namespace pinion::codec {
namespace {

using Histogram = std::array<std::uint64_t, kMaxAlphabet>;
using Histograms = std::array<Histogram, kMaxByteClasses>;

constexpr std::size_t kMinRows = 16;       // below, a map of channels costs more than it saves
constexpr std::size_t kMinElements = 512;  // likewise for any classes
constexpr std::size_t kMaxSampledRows = 64;
constexpr std::size_t kMaxSample = 1 << 13;
constexpr std::size_t kSampledTogether = 256;   // elements of a sample that lie together
constexpr std::size_t kPartElements = 1 << 16;  // counted by one thread in one go
constexpr double kTableBitsPerSymbol = 9;       // of one used symbol in a written table, about
constexpr double kHopeless = 0.985;             // of the raw size: a sample above is not looked at closely

double entropy_of(const Histogram& counts) {
  std::uint64_t total = 0;
  double bits = 0;
  for (const std::uint64_t count : counts) {
    if (count == 0) continue;
    total += count;
    bits -= static_cast<double>(count) * fast_log2(static_cast<float>(count));
  }
  return total == 0 ? 0 : bits + static_cast<double>(total) * fast_log2(static_cast<float>(total));
}

double table_bits(const Histogram& counts) {
  return kTableBitsPerSymbol * static_cast<double>(kMaxAlphabet - static_cast<std::size_t>(std::count(
                                                                      counts.begin(), counts.end(), 0u)));
}

// Calls visit(begin, end) for blocks that are spread evenly over `count` places, kMaxSample in all at most.
template <class Visit>
void for_each_sampled(std::size_t count, Visit visit) {
  const std::size_t blocks = (count - 1) / kSampledTogether + 1;
  const std::size_t stride = (blocks - 1) / (kMaxSample / kSampledTogether) + 1;
  for (std::size_t b = 0; b < blocks; b += stride)
    visit(b * kSampledTogether, std::min(count, (b + 1) * kSampledTogether));
}

// Whether a sample leaves hope that coding the plane pays.
bool may_be_worth_it(std::span<const std::uint8_t> bytes) {
  std::array<std::uint32_t, kMaxAlphabet> counts{};
  std::size_t total = 0;
  for_each_sampled(bytes.size(), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) ++counts[bytes[i]];
    total += end - begin;
  });
  // A small sample of random bytes looks less random than it is.
  const double bits = entropy_bits(counts) + std::min<double>(kMaxAlphabet, static_cast<double>(total)) / 1.4;
  return bits < kHopeless * 8 * static_cast<double>(total);
}

// `count` things in `kMaxByteClasses` classes of about equal weight, in the order of their keys.
void share_out(std::vector<std::pair<std::uint64_t, std::size_t>>& keyed, std::span<const double> weights,
               std::span<std::uint8_t> class_of) {
  std::sort(keyed.begin(), keyed.end());
  double total = 0, before = 0;
  for (const auto& [key, i] : keyed) total += weights[i];
  for (const auto& [key, i] : keyed) {
    const double middle = (before + weights[i] / 2) / total * kMaxByteClasses;
    class_of[i] = static_cast<std::uint8_t>(std::min(middle, kMaxByteClasses - 1.0));
    before += weights[i];
  }
}

// By the mean of their bytes over a sample of the rows.
std::vector<std::uint8_t> classes_of_channels(const PlaneInput& plane) {
  const std::size_t channels = plane.channels, rows = plane.bytes.size() / channels;
  std::vector<std::uint32_t> sums(channels);
  for (std::size_t row = 0; row < rows; row += (rows - 1) / kMaxSampledRows + 1) {
    const std::uint8_t* from = plane.bytes.data() + row * channels;
    for (std::size_t c = 0; c < channels; ++c) sums[c] += from[c];
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> keyed;
  for (std::size_t c = 0; c < channels; ++c) keyed.emplace_back(sums[c], c);
  std::vector<std::uint8_t> class_of(channels);
  share_out(keyed, std::vector<double>(channels, 1.0), class_of);
  return class_of;
}

// Exact counts over the whole plane.
std::unique_ptr<Histograms> count_all(const PlaneInput& plane, const PlaneCoding& coding, ChunkPool& pool) {
  const SymbolClasses classes(coding, static_cast<std::int64_t>(plane.channels), kPartElements);
  auto total = std::make_unique<Histograms>();
  std::mutex mutex;
  const std::size_t parts = (plane.bytes.size() - 1) / kPartElements + 1;
  pool.run(parts, [&](std::size_t part, std::size_t) {
    const std::size_t begin = part * kPartElements,
                      count = std::min(kPartElements, plane.bytes.size() - begin);
    const std::uint8_t* bytes = plane.bytes.data() + begin;
    const std::uint8_t* class_of =
        coding.kind == PlaneKind::kByContext
            ? plane.contexts->of_element + begin
            : classes.at(static_cast<std::int64_t>(begin), count, nullptr, nullptr);
    // Two, so that equal neighbours do not wait for one counter.
    const std::size_t used = std::max<std::size_t>(1, coding.tables.size());
    std::vector<std::uint32_t> counts(2 * used * kMaxAlphabet);
    std::uint32_t* const even = counts.data();
    std::uint32_t* const odd = even + used * kMaxAlphabet;
    const auto entry = [&](std::size_t i) {
      return bytes[i] + (class_of == nullptr ? 0u : class_of[i] * 256u);
    };
    for (std::size_t i = 0; i + 1 < count; i += 2) {
      ++even[entry(i)];
      ++odd[entry(i + 1)];
    }
    if (count % 2 != 0) ++even[entry(count - 1)];
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < used * kMaxAlphabet; ++i)
      (*total)[i / kMaxAlphabet][i % kMaxAlphabet] += even[i] + odd[i];
  });
  return total;
}

// Classes 2i and 2i + 1 become class i.
void halve(Histograms& counts, std::size_t classes) {
  for (std::size_t k = 0; 2 * k < classes; ++k) {
    for (std::size_t s = 0; s < kMaxAlphabet; ++s)
      counts[k][s] = counts[2 * k][s] + (2 * k + 1 < classes ? counts[2 * k + 1][s] : 0);
  }
}

// Drops classes without symbols; says what became of each.
std::array<std::uint8_t, kMaxByteClasses> compact(Histograms& counts, std::size_t classes) {
  std::array<std::uint8_t, kMaxByteClasses> renamed{};
  std::uint8_t next = 0;
  for (std::size_t k = 0; k < classes; ++k) {
    renamed[k] = next;
    const bool used = std::any_of(counts[k].begin(), counts[k].end(), [](auto n) { return n > 0; });
    if (used) counts[next++] = counts[k];
  }
  for (std::uint8_t& k : renamed) k = std::min(k, static_cast<std::uint8_t>(next - 1));
  return renamed;
}

}  // namespace

double entropy_bits(std::span<const std::uint32_t> counts) {
  Histogram wide;
  std::copy(counts.begin(), counts.end(), wide.begin());
  return entropy_of(wide);
}

// By the mean of the bytes that come with a context in a sample; contexts with larger bytes weigh more. One
// that does not occur is classed like the one before it.
std::vector<std::uint8_t> choose_context_classes(std::span<const std::uint8_t> plane,
                                                 const std::uint8_t* contexts) {
  std::array<std::uint64_t, kContexts> counts{}, sums{};
  for_each_sampled(plane.size(), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      ++counts[contexts[i]];
      sums[contexts[i]] += plane[i];
    }
  });
  std::vector<std::pair<std::uint64_t, std::size_t>> keyed;
  std::array<double, kContexts> weights{};
  for (std::size_t c = 0; c < kContexts; ++c) {
    if (counts[c] == 0) continue;
    constexpr std::uint64_t kUnits = 1 << 16;
    keyed.emplace_back(sums[c] * kUnits / counts[c], c);
    const auto mean = static_cast<float>(keyed.back().first) / kUnits;
    weights[c] = static_cast<double>(counts[c]) * fast_log2(2 + mean);
  }
  std::vector<std::uint8_t> class_of(kContexts);
  share_out(keyed, weights, class_of);
  std::uint8_t last = class_of[keyed.front().second];
  for (std::size_t c = 0; c < kContexts; ++c) {
    if (counts[c] == 0) class_of[c] = last;
    last = class_of[c];
  }
  return class_of;
}

PlaneChoice choose_plane_coding(const PlaneInput& plane, ChunkPool& pool) {
  const std::size_t elements = plane.bytes.size();
  PlaneChoice choice;
  if (std::all_of(plane.bytes.begin(), plane.bytes.end(), [&](auto b) { return b == plane.bytes.front(); })) {
    choice.coding.kind = PlaneKind::kConstant;
    choice.coding.constant = plane.bytes.front();
    return choice;
  }
  if (!may_be_worth_it(plane.bytes)) return choice;

  const bool by_context = plane.contexts != nullptr && elements >= kMinElements;
  const bool by_channel = plane.contexts == nullptr && elements >= kMinElements && plane.channels > 1 &&
                          elements / plane.channels >= kMinRows;
  PlaneCoding finest;
  finest.kind = by_context ? PlaneKind::kByContext : PlaneKind::kByChannel;
  if (by_context) finest.class_of = plane.contexts->of_context;
  if (by_channel) finest.class_of = classes_of_channels(plane);
  std::size_t classes = finest.class_of.empty() ? 1 : kMaxByteClasses;
  finest.tables.resize(classes);
  std::unique_ptr<Histograms> counts = count_all(plane, finest, pool);

  // Ever fewer classes, down to one.
  Histograms best = *counts;
  std::size_t best_classes = 0;
  const double map_entries = by_context ? 40.0 : static_cast<double>(plane.channels);  // runs of contexts
  for (; classes >= 1; classes /= 2) {
    double bits = classes == 1 ? 0 : map_entries * std::bit_width(classes - 1);
    for (std::size_t k = 0; k < classes; ++k) bits += entropy_of((*counts)[k]) + table_bits((*counts)[k]);
    if (best_classes == 0 || bits < choice.coded_bits) {
      choice.coded_bits = bits;
      best_classes = classes;
      best = *counts;
    }
    halve(*counts, classes);
  }
  if (choice.coded_bits > plane.worth_coding * 8 * static_cast<double>(elements)) return choice;

  choice.coding.kind = best_classes == 1 ? PlaneKind::kByChannel : finest.kind;
  if (best_classes > 1) {
    const auto renamed = compact(best, best_classes);
    for (std::size_t k = 0; k < kMaxByteClasses; ++k)
      choice.merged[k] = renamed[k / (kMaxByteClasses / best_classes)];
    choice.coding.class_of = std::move(finest.class_of);
    for (std::uint8_t& k : choice.coding.class_of) k = choice.merged[k];
    best_classes = 1u + *std::max_element(choice.coding.class_of.begin(), choice.coding.class_of.end());
    if (best_classes == 1 && choice.coding.kind == PlaneKind::kByChannel) choice.coding.class_of.clear();
  }
  for (std::size_t k = 0; k < best_classes; ++k) choice.coding.tables.push_back(normalise_counts(best[k]));
  return choice;
}

}  // namespace pinion::codec
