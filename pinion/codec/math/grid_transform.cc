#include "pinion/codec/math/grid_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace pinion::codec {
namespace {

constexpr std::size_t kTile = 8;

// Of the sum of both frequencies, in eighths of the highest one.
constexpr std::array<std::uint8_t, 2 * kTile - 1> kClassOfFrequency = {0, 1, 2, 3, 4, 4, 5, 5,
                                                                       6, 6, 7, 7, 7, 7, 7};

// [kTile][kTile], zero beyond the size that it is for.
using Square = std::array<float, kTile * kTile>;

// Of one size, [frequency][token], and the other way round.
struct Cosines {
  Square by_frequency{}, by_token{};

  explicit Cosines(std::size_t size) {
    const auto n = static_cast<double>(size);
    for (std::size_t u = 0; u < size; ++u) {
      for (std::size_t i = 0; i < size; ++i) {
        const double angle = std::numbers::pi * static_cast<double>((2 * i + 1) * u) / (2 * n);
        const double value = std::sqrt((u == 0 ? 1 : 2) / n) * std::cos(angle);
        by_frequency[u * kTile + i] = by_token[i * kTile + u] = static_cast<float>(value);
      }
    }
  }
};

const Cosines& cosines(std::size_t size) {
  static const std::array<Cosines, kTile> kOfSize = {Cosines(1), Cosines(2), Cosines(3), Cosines(4),
                                                     Cosines(5), Cosines(6), Cosines(7), Cosines(8)};
  return kOfSize[size - 1];
}

// left · right. All loops have fixed bounds, for the compiler's vectors.
void multiply(const Square& left, const Square& right, Square& product) {
  for (std::size_t i = 0; i < kTile; ++i) {
    std::array<float, kTile> sum{};
    for (std::size_t j = 0; j < kTile; ++j) {
      const float factor = left[i * kTile + j];
      for (std::size_t k = 0; k < kTile; ++k) sum[k] += factor * right[j * kTile + k];
    }
    std::copy(sum.begin(), sum.end(), product.begin() + static_cast<std::ptrdiff_t>(i * kTile));
  }
}

// Calls work(first value of the tile, its lines, its columns) for all tiles.
template <class Work>
void for_tiles(const TokenGrid& grid, std::size_t rows, const Work& work) {
  for (std::size_t picture = 0; picture < rows; picture += grid.tokens()) {
    for (std::size_t y = 0; y < grid.lines; y += kTile) {
      for (std::size_t x = 0; x < grid.columns; x += kTile) {
        work(picture + y * grid.columns + x, std::min(kTile, grid.lines - y),
             std::min(kTile, grid.columns - x));
      }
    }
  }
}

// Each tile becomes left · tile · right, the matrices being those of its size.
template <class Left, class Right>
void apply(const TokenGrid& grid, std::span<float> values, const Left& left, const Right& right) {
  for_tiles(grid, values.size(), [&](std::size_t first, std::size_t lines, std::size_t columns) {
    Square tile{}, half;
    for (std::size_t y = 0; y < lines; ++y) {
      std::copy_n(values.data() + first + y * grid.columns, columns, tile.data() + y * kTile);
    }
    multiply(left(cosines(lines)), tile, half);
    multiply(half, right(cosines(columns)), tile);
    for (std::size_t y = 0; y < lines; ++y) {
      std::copy_n(tile.data() + y * kTile, columns, values.data() + first + y * grid.columns);
    }
  });
}

const Square& by_frequency(const Cosines& of) { return of.by_frequency; }
const Square& by_token(const Cosines& of) { return of.by_token; }

}  // namespace

std::vector<std::uint8_t> frequency_classes(const TokenGrid& grid, std::size_t rows) {
  std::vector<std::uint8_t> classes(rows);
  for_tiles(grid, rows, [&](std::size_t first, std::size_t lines, std::size_t columns) {
    for (std::size_t u = 0; u < lines; ++u) {
      for (std::size_t v = 0; v < columns; ++v) {
        classes[first + u * grid.columns + v] = kClassOfFrequency[kTile * u / lines + kTile * v / columns];
      }
    }
  });
  return classes;
}

void transform_grid(const TokenGrid& grid, std::span<float> values) {
  apply(grid, values, by_frequency, by_token);
}

void restore_grid(const TokenGrid& grid, std::span<float> coefficients) {
  apply(grid, coefficients, by_token, by_frequency);
}

}  // namespace pinion::codec
