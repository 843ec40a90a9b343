#pragma once
// The tensor of a stream's last frame as the decoders of exact and bounded frames keep it: the next frame may
// refer to its elements. Used by one thread at a time.

#include <memory>
#include <optional>

#include "pinion/codec/frame_format.h"

namespace pinion::codec {

class LastTensor {
 public:
  // The elements that a frame of this header refers to; null if it refers to none. kNotFound: the frame
  // before it is not here. kBadFormat: that one has another type or size.
  Result<const std::byte*> elements_for(const FrameHeader& header) const;

  // What was decoded is the last tensor from now on. It is returned, and cannot be written.
  Tensor keep(std::uint32_t checksum, const std::shared_ptr<Tensor>& decoded);

 private:
  struct Held {
    std::uint32_t checksum;
    Tensor tensor;
  };
  std::optional<Held> held_;
};

}  // namespace pinion::codec
