#pragma once
// The built-in probability tables for quantiser indices, computed in integers (docs/format.md §6.2).
//
// A table class is a shape (how heavy the tails are) and a scale. Scale 0 means "all zero" and has no table.
// Tables are built when first asked for and kept; one IndexTables is used by one thread at a time.

#include <cstdint>
#include <map>
#include <memory>

#include "pinion/codec/rans.h"

namespace pinion::codec {

// Weights fall as 2^(-lambda |n|^(m/2)), m = shape + 1: 1 is Laplace, 3 is Gauss.
inline constexpr int kShapes = 4;
inline constexpr int kMaxShift = 16;
inline constexpr int kMaxHalfAlphabet = 126;

struct IndexClass {
  std::uint8_t shape = 3;  // below kShapes
  std::uint8_t scale = 0;
  bool operator==(const IndexClass&) const = default;
  auto operator<=>(const IndexClass&) const = default;
};

// The largest scale without and with shift.
int base_scales(int shape);
int max_scale(int shape);

// An index v is coded as a high part h = (v + 2^(shift-1)) >> shift through the table, and `shift` plain
// bits. Symbols 0 .. 2 half are h = -half .. half; the last symbol, 2 half + 1, is the escape.
struct IndexTable {
  explicit IndexTable(IndexClass base);

  int half = 0;
  Frequencies frequencies;
  EncodeTable encode;
  DecodeTable decode;
  std::vector<float> cost_bits;  // of each symbol

  int escape() const { return 2 * half + 1; }
};

// How a class is made of a table and a shift.
struct SplitClass {
  IndexClass base;
  int shift;
};
SplitClass split_class(IndexClass index_class);

class IndexTables {
 public:
  // The table of a class of scale ≥ 1 (its base if it has a shift).
  const IndexTable& get(IndexClass index_class);

 private:
  std::map<IndexClass, std::unique_ptr<IndexTable>> tables_;
};

// Frequencies of a base class (1 ≤ scale ≤ base_scales(shape)), symbol order as in IndexTable.
Frequencies index_frequencies(IndexClass base);

}  // namespace pinion::codec
