#pragma once
// Elements as numbers and these as planes of bytes, the highest first (docs/format.md §5). Pure functions.
//
// `elements` and `previous` are `count` elements of `dtype`, a float type of at most 4 bytes; `previous` is
// null in key frames. Each of the planes has `count` bytes.

#include <cstddef>
#include <cstdint>

#include "pinion/base/dtype.h"

namespace pinion::codec {

void split_elements(const std::byte* elements, const std::byte* previous, DType dtype, std::size_t count,
                    std::uint8_t* const* planes);

void join_elements(const std::uint8_t* const* planes, const std::byte* previous, DType dtype,
                   std::size_t count, std::byte* elements);

// The highest byte of each element's number in a key frame.
void context_bytes(const std::byte* elements, DType dtype, std::size_t count, std::uint8_t* out);

}  // namespace pinion::codec
