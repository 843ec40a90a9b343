#pragma once
// What both packings share: a tensor's channels as rows, and levels in and out of the tiles of pictures.
// Pure functions; spans are borrowed for the call.

#include <span>

#include "pinion/codec/math/matrix.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::codec {

// [channels, tokens] of a [tokens, channels] tensor on the CPU, of any float type. kInvalidArgument if it is
// another kind of tensor, is empty, does not have the grid's tokens, or has an element that is NaN or
// infinite.
Result<Matrix> channels_of(const TensorView& tensor, const TokenGrid& grid);

// Pictures for that many components, all samples at kGreyLevel.
Tensor grey_pictures(const PictureLayout& layout, std::size_t components);

// kBadFormat unless `pictures` is a uint8 tensor on the CPU of just the shape that the layout says.
Result<void> check_pictures(const TensorView& pictures, const PictureLayout& layout, std::size_t components);

// Writes one level for each token. `pictures` as from grey_pictures().
void write_tile(std::uint8_t* pictures, const PictureLayout& layout, std::size_t slot,
                std::span<const std::uint8_t> levels);

void read_tile(const std::uint8_t* pictures, const PictureLayout& layout, std::size_t slot,
               std::span<std::uint8_t> levels);

// Repeats the last used column and row of every plane into its padding.
void extend_edges(std::uint8_t* pictures, const PictureLayout& layout, std::size_t components);

}  // namespace pinion::codec
