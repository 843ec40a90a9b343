#include "pinion/codec/planes/picture_layout.h"

#include <algorithm>
#include <cmath>

namespace pinion::codec {
namespace {

std::size_t divide_up(std::size_t a, std::size_t b) { return a / b + (a % b != 0); }

std::size_t padded(std::size_t side, PlanePadding padding) {
  const std::size_t multiple = padding == PlanePadding::kLean ? 8 : 16;
  const std::size_t least = padding == PlanePadding::kLean ? 32 : 144;
  return std::max(least, divide_up(side, multiple) * multiple);
}

bool side_fits(std::size_t tiles, std::size_t tokens) {
  return tiles > 0 && tokens > 0 && tokens <= kMaxPictureSide && tiles <= kMaxPictureSide / tokens;
}

Error no_such_grid(const TokenGrid& grid) {
  return {Errc::kInvalidArgument,
          "a grid of " + std::to_string(grid.lines) + " x " + std::to_string(grid.columns) +
              " tokens does not fit pictures of at most " + std::to_string(kMaxPictureSide) + " a side",
          "use fewer tiles, or another grid"};
}

}  // namespace

TokenGrid squarest_grid(std::size_t tokens) {
  auto rows = static_cast<std::size_t>(std::sqrt(static_cast<double>(tokens)));
  while (rows > 1 && tokens % rows != 0) --rows;
  return rows == 0 ? TokenGrid{} : TokenGrid{rows, tokens / rows};
}

Result<void> PictureLayout::check() const {
  if (!side_fits(tile_rows, grid.lines) || !side_fits(tile_columns, grid.columns)) return no_such_grid(grid);
  if (planes != 1 && planes != 3) {
    return Error{Errc::kInvalidArgument, "pictures have 1 or 3 planes, not " + std::to_string(planes), ""};
  }
  return {};
}

std::size_t PictureLayout::width() const { return padded(used_width(), padding); }

std::size_t PictureLayout::height() const { return padded(used_height(), padding); }

std::size_t PictureLayout::pictures(std::size_t components) const {
  return divide_up(components, slots_per_picture());
}

Shape PictureLayout::pictures_shape(std::size_t components) const {
  return {static_cast<std::int64_t>(pictures(components)), static_cast<std::int64_t>(planes),
          static_cast<std::int64_t>(height()), static_cast<std::int64_t>(width())};
}

TilePlace PictureLayout::place(std::size_t slot) const {
  const std::size_t per_plane = tile_rows * tile_columns;
  const std::size_t tile = slot % per_plane;
  return {slot / slots_per_picture(), slot % slots_per_picture() / per_plane,
          tile / tile_columns * grid.lines, tile % tile_columns * grid.columns};
}

Result<PictureLayout> range_layout(const TokenGrid& grid, std::size_t tiles_per_side, PlanePadding padding) {
  if (tiles_per_side != 1 && tiles_per_side != 2 && tiles_per_side != 4 && tiles_per_side != 8) {
    return Error{Errc::kInvalidArgument,
                 std::to_string(tiles_per_side) + " tiles per side: there can be 1, 2, 4 or 8", ""};
  }
  const PictureLayout layout{grid, tiles_per_side, tiles_per_side, 3, padding};
  PINION_TRY_VOID(layout.check());
  return layout;
}

Result<PictureLayout> component_layout(const TokenGrid& grid, std::size_t components) {
  PictureLayout layout{grid, 1, 1, 1, PlanePadding::kHardware};
  PINION_TRY_VOID(layout.check());
  if (components == 0) return Error{Errc::kInvalidArgument, "there are no components to lay out", ""};
  const std::size_t most_rows = kMaxPictureSide / grid.lines;
  const std::size_t most_columns = kMaxPictureSide / grid.columns;
  const std::size_t pictures = divide_up(components, most_rows * most_columns);
  const std::size_t tiles = divide_up(components, pictures);
  while (layout.tile_columns < most_columns &&
         layout.used_width() < divide_up(tiles, layout.tile_columns) * grid.lines) {
    ++layout.tile_columns;
  }
  layout.tile_rows = divide_up(tiles, layout.tile_columns);
  if (layout.tile_rows > most_rows) {
    layout.tile_rows = most_rows;
    layout.tile_columns = divide_up(tiles, most_rows);
  }
  return layout;
}

}  // namespace pinion::codec
