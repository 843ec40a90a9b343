#pragma once
// The encoder's choice of table classes: the shape that suits all components, a
// scale for each.

#include <span>

#include "pinion/codec/component_params.h"

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

struct ClassRequest {
  std::span<const std::int32_t> values;      // [components, rows]
  std::span<const std::size_t> band_ends;    // where each band of rows ends
  std::span<const std::uint8_t> expected{};  // scales that are cheap to write;
                                             // empty: those of the neighbours
  const ComponentParams* near = nullptr;     // of values much like these: only their shape is tried
};

// Fills shape, scales and band scales; returns the bits of all indices.
double choose_index_classes(const ClassRequest& request, IndexTables& tables, ComponentParams& params);

// The best class for one run, any shape, and its bits. Scale 0 if all values
// are 0.
struct ClassChoice {
  IndexClass index_class;
  double bits = 0;
};
ClassChoice choose_class(std::span<const std::int32_t> values, IndexTables& tables);

}  // namespace pinion::codec
