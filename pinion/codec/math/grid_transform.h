#pragma once
// The cosine transform of values on a grid of tokens, in tiles of 8 × 8 (docs/format.md §12.7): neighbouring
// tokens are alike, so a few coefficients of a tile say most of it. Immutable after it is made; may be shared
// between threads.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pinion::codec {

inline constexpr std::size_t kMaxGridExtent = 0xffff;

// The tokens of one picture, line by line.
struct TokenGrid {
  std::size_t columns = 0;
  std::size_t lines = 0;

  std::size_t tokens() const { return columns * lines; }
  // Whether it is one that frames can tell of, and so many rows are whole pictures.
  bool divides(std::size_t rows) const {
    const bool is_small = columns <= kMaxGridExtent && lines <= kMaxGridExtent;
    return is_small && tokens() > 0 && rows > 0 && rows % tokens() == 0;
  }
  bool operator==(const TokenGrid&) const = default;
};

inline constexpr std::size_t kFrequencyClasses = 8;

// Which class each row's coefficient belongs to, from low to high frequencies, [rows]. `grid` divides `rows`.
std::vector<std::uint8_t> frequency_classes(const TokenGrid& grid, std::size_t rows);

// Both ways in place: [rows] values of one component, whole pictures. The coefficient of frequencies (u, v) of
// a tile stands where its token in line u and column v stood. Orthonormal: squared errors stay what they are.
// The same results on every CPU.
void transform_grid(const TokenGrid& grid, std::span<float> values);
void restore_grid(const TokenGrid& grid, std::span<float> coefficients);

}  // namespace pinion::codec
