#include "pinion/codec/indices/run_prices.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "pinion/codec/indices/index_coding.h"

namespace pinion::codec {
namespace {

constexpr std::int32_t kMaxCounted = kMagnitudes - 1;
constexpr std::size_t kPricedTogether = 16;  // components that are one piece of work

std::int32_t largest_size(std::span<const std::int32_t> values) {
  std::int32_t largest = 0;
  for (const std::int32_t value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

void Spread::add(std::span<const std::int32_t> run) {
  values += run.size();
  for (const std::int32_t value : run) {
    const auto size = static_cast<std::size_t>(std::abs(high_part(value, shift)));
    if (size < counts.size()) {
      ++counts[size];
      used = std::max(used, size + 1);
    } else {
      ++beyond;
      beyond_length += static_cast<std::uint64_t>(std::bit_width(size) - 1);
    }
  }
}

double class_cost(const Spread& spread, const IndexTable& table) {
  double bits = static_cast<double>(spread.shift) * static_cast<double>(spread.values);
  for (std::size_t n = 0; n < spread.used; ++n)
    bits += spread.counts[n] * static_cast<double>(table.size_cost_bits[n]);
  const double escape = static_cast<double>(table.cost_bits.back()) + kEscapeHeadBits;
  return bits + static_cast<double>(spread.beyond) * escape + static_cast<double>(spread.beyond_length);
}

RunPrices::RunPrices(std::span<const std::int32_t> values, std::size_t rows,
                     std::span<const std::uint8_t> band_of_row, std::size_t bands, ChunkPool& pool)
    : rows_(rows), band_rows_(bands) {
  const std::size_t components = rows == 0 ? 0 : values.size() / rows;
  std::vector<std::int32_t> largest(components);
  pool.run_in_groups(components, kPricedTogether, [&](std::size_t k, std::size_t) {
    largest[k] = largest_size(values.subspan(k * rows, rows));
  });
  std::int32_t most = 0;
  for (std::size_t k = 0; k < components; ++k) {
    if (largest[k] <= kMaxCounted) {
      most = std::max(most, largest[k]);
    } else {
      wide_[k].runs.resize(bands);
    }
  }
  stride_ = (static_cast<std::size_t>(most) / 8 + 1) * 8;
  for (std::size_t r = 0; r < rows; ++r) ++band_rows_[band_of_row.empty() ? 0 : band_of_row[r]];
  counts_.resize(components * bands * stride_);
  mean_sizes_.resize(components);
  std::vector<std::uint32_t> place(rows);  // where the counts of a row's band begin
  for (std::size_t r = 0; r < band_of_row.size(); ++r) {
    place[r] = static_cast<std::uint32_t>(band_of_row[r] * stride_);
  }
  // Equal values beside each other would wait for each other's count, so neighbours count apart.
  const std::size_t size = bands * stride_;
  std::vector<std::int32_t> odd_counts(size * pool.threads());
  pool.run_in_groups(components, kPricedTogether, [&](std::size_t k, std::size_t worker) {
    const auto row = values.subspan(k * rows, rows);
    std::int32_t* const even = counts_.data() + k * size;
    if (largest[k] == 0) {
      for (std::size_t band = 0; band < bands; ++band) {
        even[band * stride_] = static_cast<std::int32_t>(band_rows_[band]);
      }
      return;
    }
    double sum = 0;
    if (largest[k] > kMaxCounted) {
      Wide& wide = wide_.find(k)->second;
      for (std::size_t r = 0; r < rows; ++r) {
        wide.runs[band_of_row.empty() ? 0 : band_of_row[r]].push_back(row[r]);
        sum += std::abs(row[r]);
      }
    } else {
      std::int32_t* const odd = odd_counts.data() + worker * size;
      std::fill_n(odd, size, 0);
      std::size_t r = 0;
      for (; r + 1 < rows; r += 2) {
        ++even[place[r] + static_cast<std::uint32_t>(std::abs(row[r]))];
        ++odd[place[r + 1] + static_cast<std::uint32_t>(std::abs(row[r + 1]))];
      }
      if (r < rows) ++even[place[r] + static_cast<std::uint32_t>(std::abs(row[r]))];
      for (std::size_t i = 0; i < size; ++i) {
        even[i] += odd[i];
        sum += static_cast<double>(even[i]) * static_cast<double>(i % stride_);
      }
    }
    mean_sizes_[k] = static_cast<float>(sum / static_cast<double>(rows));
  });
}

RunPrices RunPrices::merged() const {
  RunPrices one;
  one.rows_ = rows_;
  one.stride_ = stride_;
  one.band_rows_ = {rows_};
  one.mean_sizes_ = mean_sizes_;
  one.counts_.resize(components() * stride_);
  for (std::size_t k = 0; k < components(); ++k) {
    for (std::size_t band = 0; band < bands(); ++band) {
      const std::int32_t* from = counts_of(k, band);
      for (std::size_t n = 0; n < stride_; ++n) one.counts_[k * stride_ + n] += from[n];
    }
  }
  for (const auto& [k, wide] : wide_) {
    std::vector<std::int32_t>& run = one.wide_[k].runs.emplace_back();
    for (const auto& part : wide.runs) run.insert(run.end(), part.begin(), part.end());
  }
  return one;
}

float RunPrices::band_bits(std::size_t component, std::size_t band, IndexClass index_class,
                           IndexTables& tables) {
  const auto found = wide_.find(component);
  if (found == wide_.end()) {
    const std::int32_t* counts = counts_of(component, band);
    const auto size = static_cast<std::int32_t>(band_rows_[band]);
    if (index_class.scale == 0) return counts[0] == size ? 0 : kImpossible;
    const auto [index_table, shift] = tables.get(index_class);
    const IndexTable& table = *index_table;
    if (shift == 0) return loops_->priced(counts, table.size_cost_bits.data(), stride_);
    // Small values in a class for large ones: their high parts are few.
    float bits = static_cast<float>(shift * size);
    for (std::size_t n = 0; n < stride_; ++n) {
      if (counts[n] == 0) continue;
      const auto high = static_cast<std::size_t>(high_part(static_cast<std::int32_t>(n), shift));
      bits += static_cast<float>(counts[n]) * table.size_cost_bits[high];
    }
    return bits;
  }
  Wide& wide = found->second;
  const std::vector<std::int32_t>& run = wide.runs[band];
  if (run.empty()) return 0;
  if (index_class.scale == 0) return largest_size(run) > 0 ? kImpossible : 0;
  const int shift = split_class(index_class).shift;
  auto spread = wide.spreads.find({band, shift});
  if (spread == wide.spreads.end()) {
    spread = wide.spreads.emplace(std::pair(band, shift), Spread(run, shift)).first;
  }
  return static_cast<float>(class_cost(spread->second, *tables.get(index_class).table));
}

void RunPrices::count_in(const ComponentParams& params, IndexHistograms& histograms) const {
  for (std::size_t k = 0; k < params.scales.size(); ++k) {
    const auto wide = wide_.find(k);
    for (std::size_t band = 0; band < bands(); ++band) {
      const IndexClass index_class = params.index_class(k, band);
      if (index_class.scale == 0 || band_rows_[band] == 0) continue;
      if (wide != wide_.end()) {
        for (const std::int32_t value : wide->second.runs[band]) {
          histograms.add(index_class, static_cast<std::uint32_t>(std::abs(value)), 1);
        }
        continue;
      }
      const std::int32_t* const counts = counts_of(k, band);
      for (std::size_t size = 0; size < stride_; ++size) {
        if (counts[size] == 0) continue;
        histograms.add(index_class, static_cast<std::uint32_t>(size),
                       static_cast<std::uint64_t>(counts[size]));
      }
    }
  }
}

float RunPrices::bits(std::size_t component, Shapes shapes, int scale,
                      std::span<const std::int8_t> band_scales, IndexTables& tables) {
  float sum = 0;
  for (std::size_t band = 0; band < bands(); ++band) {
    if (band_rows_[band] == 0) continue;
    sum += band_bits(component, band, shapes.at(scale + band_scales[band]), tables);
  }
  return sum;
}

}  // namespace pinion::codec
