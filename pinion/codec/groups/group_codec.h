#pragma once
// Modes 4 and 5 of docs/format.md §10, §11: groups of 32 elements of a row share a scale; integers of 8 or 4
// bits. The rate is fixed and frames stand alone. Pure functions but for the pool that they are given.

#include "pinion/codec/chunk_pool.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {

// Bytes of a body of either mode for that shape.
std::size_t group_body_bytes(Mode mode, const Shape& shape);

// The frame. kInvalidArgument if an element is NaN or infinite. The tensor is on the CPU, of a type that the
// modes allow.
Result<Bytes> encode_groups(Mode mode, const TensorView& tensor, ChunkPool& pool);

Result<Tensor> decode_groups(const FrameHeader& header, ByteSpan body, ChunkPool& pool);

}  // namespace pinion::codec
