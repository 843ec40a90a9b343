#pragma once
// The body of mode 3 (docs/format.md §9). Pure functions.

#include <vector>

#include "pinion/codec/frame_format.h"

namespace pinion::codec {

inline constexpr std::uint32_t kEscape = 0;            // the number of an element that is sent as it is
inline constexpr float kMaxBoundedIndex = 4194304.0f;  // 2^22, of predictions and of what an encoder uses
inline constexpr std::uint16_t kLeastStep = 0x0080;  // the least and the largest normal number, as the upper
inline constexpr std::uint16_t kLargestStep = 0x7f7f;  // half of a binary32

struct BoundedBody {
  std::vector<std::uint16_t> steps;  // one, or one of each channel: upper halves of binary32 numbers
  std::size_t number_bytes = 1;      // 1 or 2
  ByteSpan escapes;                  // elements, borrowed from the frame
  ByteSpan planes;                   // likewise: a section (§5.2)
};

// All but the planes.
void write_bounded_head(ByteWriter& out, const BoundedBody& body, std::size_t element_bytes);

Result<BoundedBody> parse_bounded(const FrameHeader& header, ByteSpan body);

// The step of each element from a chunk's first channel on: over and over, `channels + more` values.
std::vector<float> step_ring(const std::vector<std::uint16_t>& steps, std::int64_t channels,
                             std::size_t more);

}  // namespace pinion::codec
