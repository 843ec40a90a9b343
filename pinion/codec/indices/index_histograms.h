#pragma once
// The yardstick of the entropy coder: what indices would take with perfect static tables, each table class
// under the histogram of its own values. Tables are symmetric, so sizes are counted and a sign is one bit.
// Used by one thread at a time.

#include <cstdint>
#include <map>
#include <vector>

#include "pinion/codec/indices/index_tables.h"

namespace pinion::codec {

class IndexHistograms {
 public:
  // `count` indices of this size, in a class of scale ≥ 1.
  void add(IndexClass index_class, std::uint32_t size, std::uint64_t count);

  // Entropy of what tables code, signs, and the plain bits of wide classes.
  double bits() const;

 private:
  struct Histogram {
    std::vector<std::uint64_t> small;
    std::map<std::uint32_t, std::uint64_t> large;
    std::uint64_t total = 0, signs = 0;
  };
  std::map<IndexClass, Histogram> by_class_;
};

}  // namespace pinion::codec
