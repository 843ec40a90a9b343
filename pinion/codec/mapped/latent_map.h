#pragma once
// What a map makes of the latents (docs/format.md §14): a row of L latents becomes a row of d channels. A map
// is a basis asset with a component for each latent channel. Pure functions.
//
// Results are the same on every machine: an encoder knows what its decoder computes.

#include <memory>
#include <span>

#include "pinion/codec/fidelity/basis.h"

namespace pinion::codec {

// What the map [L, d] makes of latents [rows, L]: [rows, d].
Matrix map_latents(std::span<const float> latents, const Matrix& map);

// A frame of mode 7 around one of mode 2, of the same shape in float32.
Bytes write_mapped_frame(DType dtype, const Shape& shape, const BasisId& map, ByteSpan inner);

// The inner frame of a parsed frame of mode 7, its checksum verified. kBadFormat unless it is whole, of mode
// 2 and of the same shape in float32.
Result<ParsedFrame> parse_inner_frame(const ParsedFrame& mapped);

// Whether map and latents are those of a frame's rows: kBadFormat if the map has other channels,
// kInvalidArgument if there is another number of latents.
Result<void> check_mapped(const FrameHeader& header, const Matrix& map, std::span<const float> latents);

// The tensor of a frame: `mapped`, what its map makes of the latents, and `inner`, a float32 tensor of its
// shape.
Tensor join_mapped(const FrameHeader& header, Matrix mapped, const Tensor& inner);

}  // namespace pinion::codec
