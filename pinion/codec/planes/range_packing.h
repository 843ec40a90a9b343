#pragma once
// Packing 1 of docs/planes.md §2: every channel with a range of its own, as others send states through video
// encoders. Pure functions.

#include <vector>

#include "pinion/codec/planes/picture_layout.h"

namespace pinion::codec {

struct RangePacking {
  TokenGrid grid;
  std::size_t tiles_per_side = 8;  // 1, 2, 4 or 8
  PlanePadding padding = PlanePadding::kHardware;
};

// Least and greatest element of a channel as the receiver gets them; finite, low ≤ high.
struct ChannelRange {
  float low = 0;
  float high = 0;

  double step() const { return (static_cast<double>(high) - low) / 255; }
  bool operator==(const ChannelRange&) const = default;
};

struct RangePictures {
  Tensor pictures;                   // uint8 [pictures, 3, height, width]
  std::vector<ChannelRange> ranges;  // one a channel; all are exact float16 where all fit into that
};

// Packs a float tensor [tokens, channels] in host memory. kInvalidArgument if it has a NaN or an infinity, or
// if grid, tiles and tensor do not go together.
Result<RangePictures> pack_ranges(const TensorView& tensor, const RangePacking& packing);

// The tensor, float32 [tokens, channels]: each element within half of its channel's step() of what was
// packed (and the rounding to float32), if the pictures are as packed. kBadFormat if the pictures have
// another shape than packing and ranges say, or a range is not finite or upside down.
Result<Tensor> unpack_ranges(const TensorView& pictures, std::span<const ChannelRange> ranges,
                             const RangePacking& packing);

}  // namespace pinion::codec
