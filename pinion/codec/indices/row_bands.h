#pragma once
// Rows that differ in how much they change fall into bands; values are coded
// band after band (docs/format.md §6.3). Immutable after it is made; may be
// shared between threads.

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace pinion::codec {

inline constexpr std::size_t kMaxBands = 8;
inline constexpr int kUsualBand = 1;  // of most rows: written as 0

class RowBands {
 public:
  // One band.
  explicit RowBands(std::size_t rows);

  // The band of every row, each below kMaxBands; the number of bands is
  // `bands`, some may be empty.
  RowBands(std::span<const std::uint8_t> band_of_row, std::size_t bands);

  std::size_t rows() const { return ends_.back(); }
  std::size_t count() const { return ends_.size(); }

  // Where each band ends in coded order.
  std::span<const std::size_t> ends() const { return ends_; }

  // The row at a place in coded order: bands in order, rows in order within
  // each.
  std::size_t row_at(std::size_t place) const { return row_at_.empty() ? place : row_at_[place]; }

  // The band of every row; empty if there is one band.
  std::vector<std::uint8_t> band_of_row() const;

  // Between row order and coded order.
  template <class T>
  void sort(std::span<const T> by_row, std::span<T> coded) const {
    for (std::size_t i = 0; i < coded.size(); ++i) coded[i] = by_row[row_at(i)];
  }
  template <class T>
  void unsort(std::span<const T> coded, std::span<T> by_row) const {
    for (std::size_t i = 0; i < coded.size(); ++i) by_row[row_at(i)] = coded[i];
  }

  // Puts runs of a value for each row, one after the other, from row order into coded order.
  template <class T>
  void sort_runs(std::span<T> values) const {
    if (row_at_.empty()) return;
    std::vector<T> coded(rows());
    for (std::size_t begin = 0; begin < values.size(); begin += rows()) {
      const std::span<T> run = values.subspan(begin, rows());
      sort(std::span<const T>(run), std::span(coded));
      std::copy(coded.begin(), coded.end(), run.begin());
    }
  }

 private:
  std::vector<std::size_t> ends_;
  std::vector<std::size_t> row_at_;  // empty: rows are in coded order
};

}  // namespace pinion::codec
