#pragma once
// What a map makes of the latents (docs/format.md §14): a row of L latents becomes a row of d channels. A map
// is a basis asset with a component for each latent channel. Pure functions.
//
// Results are the same on every machine: an encoder knows what its decoder computes.

#include <memory>
#include <span>

#include "pinion/codec/fidelity/basis.h"

namespace pinion::codec {

// Adds sign times what the map makes of latents [rows, L] to `rows` [rows, d].
void add_mapped(std::span<const float> latents, const Matrix& map, float sign, Matrix& rows);

// A frame of mode 7 around one of mode 2, of the same shape in float32.
Bytes write_mapped_frame(DType dtype, const Shape& shape, const BasisId& map, ByteSpan inner);

// The inner frame of a parsed frame of mode 7, its checksum verified. kBadFormat unless it is of mode 2 and
// of the same shape in float32.
Result<ParsedFrame> parse_inner_frame(const ParsedFrame& mapped);

// The tensor: what the map makes of the latents, added to `inner`, a float32 tensor of the shape of the
// frame. kInvalidArgument: the latents are not those of its rows. kBadFormat: the map has other channels.
Result<Tensor> decode_mapped(const FrameHeader& header, const Matrix& map, std::span<const float> latents,
                             const Tensor& inner);

}  // namespace pinion::codec
