#pragma once
// What the runs of a matrix of integers would take in any table class, without coding them: a run is one
// component's values in one band of rows. Prices of different components may be asked for by different
// threads.

#include <map>
#include <span>
#include <vector>

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/indices/component_params.h"
#include "pinion/codec/indices/index_histograms.h"
#include "pinion/codec/math/vector_loops.h"

namespace pinion::codec {

// How often each magnitude occurs in a run of integers, after `shift`
// (docs/format.md §6.3).
struct Spread {
  Spread(std::span<const std::int32_t> run, int with_shift) : shift(with_shift) { add(run); }
  void add(std::span<const std::int32_t> run);

  std::array<std::uint32_t, kMaxHalfAlphabet + 1> counts{};
  std::size_t used = 0;             // magnitudes below this one occur
  std::uint64_t beyond = 0;         // values too large for any alphabet
  std::uint64_t beyond_length = 0;  // and the sum of their escape lengths
  int shift = 0;
  std::size_t values = 0;  // how many in all
};

// Bits that a run takes in a class with the spread's shift.
double class_cost(const Spread& spread, const IndexTable& table);

class RunPrices {
 public:
  static constexpr float kImpossible = 1e12f;  // bits of values where the class is "all zero"

  // `values` is [components, rows]; `band_of_row` is empty if there is one band. Threads of the pool share
  // the counting.
  RunPrices(std::span<const std::int32_t> values, std::size_t rows, std::span<const std::uint8_t> band_of_row,
            std::size_t bands, ChunkPool& pool);

  // The same with all rows in one band.
  RunPrices merged() const;

  std::size_t components() const { return mean_sizes_.size(); }
  std::size_t bands() const { return band_rows_.size(); }
  std::size_t rows() const { return rows_; }
  std::size_t band_rows(std::size_t band) const { return band_rows_[band]; }
  float mean_size(std::size_t component) const { return mean_sizes_[component]; }  // of |value|

  // kImpossible for scale 0 where not all values are 0.
  float band_bits(std::size_t component, std::size_t band, IndexClass index_class, IndexTables& tables);
  float bits(std::size_t component, Shapes shapes, int scale, std::span<const std::int8_t> band_scales,
             IndexTables& tables);

  // Adds all runs that have a class to `histograms`.
  void count_in(const ComponentParams& params, IndexHistograms& histograms) const;

 private:
  // A component with values beyond the counts; its runs are spread anew for every shift.
  struct Wide {
    std::vector<std::vector<std::int32_t>> runs;
    std::map<std::pair<std::size_t, int>, Spread> spreads;  // by band and shift
  };

  RunPrices() = default;
  const std::int32_t* counts_of(std::size_t component, std::size_t band) const {
    return counts_.data() + (component * bands() + band) * stride_;
  }

  const VectorLoops* loops_ = &vector_loops();
  std::size_t rows_ = 0;
  std::size_t stride_ = 0;  // magnitudes counted, a multiple of 8
  std::vector<std::size_t> band_rows_;
  std::vector<float> mean_sizes_;
  std::vector<std::int32_t> counts_;  // [component, band, magnitude]
  std::map<std::size_t, Wide> wide_;
};

}  // namespace pinion::codec
