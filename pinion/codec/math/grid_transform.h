#pragma once
// The cosine transform of values on a grid of tokens, in tiles of 8 × 8 (docs/format.md §12.7): neighbouring
// tokens are alike, so a few coefficients of a tile say most of it. Immutable after it is made; may be shared
// between threads.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pinion/codec/token_grid.h"

namespace pinion::codec {

inline constexpr std::size_t kMaxGridExtent = 0xffff;

// Whether it is a grid that frames can tell of, and so many rows are whole pictures.
inline bool is_whole_pictures(std::size_t rows, const TokenGrid& grid) {
  const bool is_small = grid.lines <= kMaxGridExtent && grid.columns <= kMaxGridExtent;
  return is_small && grid.tokens() > 0 && rows > 0 && rows % grid.tokens() == 0;
}

inline constexpr std::size_t kFrequencyClasses = 8;

// Which class each row's coefficient belongs to, from low to high frequencies, [rows], whole pictures.
std::vector<std::uint8_t> frequency_classes(const TokenGrid& grid, std::size_t rows);

// Both ways in place: [rows] values of one component, whole pictures. The coefficient of frequencies (u, v)
// of a tile stands where its token in line u and column v stood. Orthonormal: squared errors stay what they
// are. The same results on every CPU.
void transform_grid(const TokenGrid& grid, std::span<float> values);
void restore_grid(const TokenGrid& grid, std::span<float> coefficients);

}  // namespace pinion::codec
