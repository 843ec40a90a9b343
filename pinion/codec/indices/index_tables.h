#pragma once
// The built-in probability tables for quantiser indices, computed in integers
// (docs/format.md §6.2).
//
// A table class is a shape (how heavy the tails are) and a scale. Scale 0 means
// "all zero" and has no table. Tables are built when first asked for and kept.
// Thread-safe, but for moves.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "pinion/codec/entropy/byte_tables.h"

namespace pinion::codec {

// Weights fall as 2^(-lambda |n|^(m/2)), m = shape + 1: 1 is Laplace, 3 is
// Gauss.
inline constexpr int kShapes = 4;
inline constexpr int kMaxShift = 16;
inline constexpr int kScalesPerOctave = 4;  // of the width, above the rare ones
inline constexpr int kMaxHalfAlphabet = 126;

inline constexpr int kMagnitudes = kMaxHalfAlphabet + 2;  // that occur in a table or just outside it
inline constexpr int kEscapeHeadBits = 6;                 // after an escape: sign, then five bits of length

struct IndexClass {
  std::uint8_t shape = 3;  // below kShapes
  std::uint8_t scale = 0;
  bool operator==(const IndexClass&) const = default;
  auto operator<=>(const IndexClass&) const = default;
};

// Up to this scale, indices other than 0 are rare, and lambda falls by quarters
// of an octave; above, it falls as fast as makes the width grow by a quarter.
inline constexpr int kRareScales = 11;

// The largest scale without and with shift.
inline constexpr std::array<int, kShapes> kBaseScales = {13, 23, 25, 26};
inline int base_scales(int shape) { return kBaseScales[static_cast<std::size_t>(shape)]; }
inline int max_scale(int shape) { return base_scales(shape) + kScalesPerOctave * kMaxShift; }

// Rare and wide classes of a frame differ in shape.
struct Shapes {
  std::uint8_t rare = 3;
  std::uint8_t wide = 2;
  bool operator==(const Shapes&) const = default;

  // The class of a scale, which is clamped to what there is.
  IndexClass at(int scale) const {
    const int clamped = std::clamp(scale, 0, max_scale(wide));
    return {clamped <= kRareScales ? rare : wide, static_cast<std::uint8_t>(clamped)};
  }
};

// An index v is coded as a high part h = (v + 2^(shift-1)) >> shift through the
// table, and `shift` plain bits. Symbols 0 .. 2 half are h = -half .. half; the
// last symbol, 2 half + 1, is the escape.
struct IndexTable {
  // At least four entries and an even number of them.
  explicit IndexTable(const Frequencies& frequencies);

  int half = 0;
  EncodeTable encode;
  ByteEncodeTables run_encode;  // the same for whole runs
  ByteDecodeTables decode;
  std::vector<float> cost_bits;  // of each symbol
  // Of values of each magnitude, with the escape and what follows it where they need that.
  std::array<float, kMagnitudes> size_cost_bits{};
  float mean_size = 0;  // expected magnitude

  int escape() const { return 2 * half + 1; }
};

// How a class is made of a table and a shift.
struct SplitClass {
  IndexClass base;
  int shift;
};
inline SplitClass split_class(IndexClass index_class) {
  const int over = index_class.scale - base_scales(index_class.shape);
  const int shift = over <= 0 ? 0 : (over + kScalesPerOctave - 1) / kScalesPerOctave;
  return {{index_class.shape, static_cast<std::uint8_t>(index_class.scale - kScalesPerOctave * shift)},
          shift};
}

// What codes a class: a table, and a number of plain bits.
struct ClassCode {
  const IndexTable* table;
  int shift;
};

class IndexTables {
 public:
  IndexTables();
  IndexTables(IndexTables&&) noexcept;
  IndexTables& operator=(IndexTables&&) noexcept;
  ~IndexTables();

  // For a class of scale ≥ 1.
  ClassCode get(IndexClass index_class);

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

// Frequencies of a base class (1 ≤ scale ≤ base_scales(shape)), symbol order as
// in IndexTable.
Frequencies index_frequencies(IndexClass base);

}  // namespace pinion::codec
