#pragma once
// Where the components of a tensor lie in 8-bit pictures: docs/planes.md §1. Values and pure functions.

#include <cstddef>
#include <cstdint>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/token_grid.h"

namespace pinion::codec {

inline constexpr std::size_t kMaxPictureSide = 8192;  // what hardware codes
inline constexpr std::uint8_t kGreyLevel = 128;

// The grid with the sides closest to each other; a prime number of tokens is one row.
TokenGrid squarest_grid(std::size_t tokens);

enum class PlanePadding : std::uint8_t {
  kLean = 0,      // sides to multiples of 8 and at least 32: as little waste as HEVC allows
  kHardware = 1,  // sides to multiples of 16 and at least 144: what fixed-function coders take
};

// Where a tile begins.
struct TilePlace {
  std::size_t picture, plane, row, column;
};

struct PictureLayout {
  TokenGrid grid;
  std::size_t tile_rows = 1;
  std::size_t tile_columns = 1;
  std::size_t planes = 1;  // of a picture: 1 or 3
  PlanePadding padding = PlanePadding::kHardware;

  // kInvalidArgument if an extent is zero or a side exceeds kMaxPictureSide. The functions below may be
  // called only where this is well.
  Result<void> check() const;

  std::size_t used_width() const { return tile_columns * grid.columns; }
  std::size_t used_height() const { return tile_rows * grid.lines; }
  std::size_t width() const;
  std::size_t height() const;
  std::size_t slots_per_picture() const { return tile_rows * tile_columns * planes; }
  std::size_t pictures(std::size_t components) const;

  // [pictures, planes, height, width]. Padding makes this at most 81 bytes for each element of a float32
  // tensor, and one picture more.
  Shape pictures_shape(std::size_t components) const;

  TilePlace place(std::size_t slot) const;
};

// Packing 1: 3 planes of tiles_per_side² tiles. kInvalidArgument unless that is 1, 2, 4 or 8, and as check().
Result<PictureLayout> range_layout(const TokenGrid& grid, std::size_t tiles_per_side, PlanePadding padding);

// Packing 2: one plane, the fewest pictures, nearly square (docs/planes.md §3). Errors as check().
Result<PictureLayout> component_layout(const TokenGrid& grid, std::size_t components);

}  // namespace pinion::codec
