#pragma once
// Mode 1 of docs/format.md §5: exact for every bit pattern, predicted from the frame before where that is
// smaller. One object is used by one thread at a time and sees the frames of one stream in order.

#include <optional>

#include "pinion/codec/last_tensor.h"
#include "pinion/codec/lossless/plane_decoder.h"
#include "pinion/codec/lossless/plane_encoder.h"

namespace pinion::codec {

class LosslessEncoder {
 public:
  // `predicts`: frames may refer to earlier ones. The pool outlives this.
  LosslessEncoder(ChunkPool& pool, bool predicts) : predicts_(predicts), planes_(pool), pool_(pool) {}

  struct Frame {
    Bytes bytes;
    bool key_frame = true;
  };
  // Of mode 1, or of mode 0 where that is not larger. The tensor is on the CPU, of a type that mode 1 allows.
  Frame encode(const TensorView& tensor);

  // The next frame is a key frame.
  void restart() { previous_.reset(); }

 private:
  bool should_predict(const TensorView& tensor) const;

  bool predicts_;
  std::optional<std::uint32_t> previous_;  // checksum of the last frame, which last_ is of
  Tensor last_;
  std::vector<std::uint8_t> split_;     // the planes, one after the other
  std::vector<std::uint8_t> contexts_;  // of each element
  PlaneEncoder planes_;
  ChunkPool& pool_;
};

class LosslessDecoder {
 public:
  explicit LosslessDecoder(ChunkPool& pool) : planes_(pool) {}

  // `frame` is of mode 1 and its checksum is right. kNotFound if it needs another frame. The tensor that it
  // returns cannot be written: it is what the next frame may refer to. An error leaves the state as it was.
  Result<Tensor> decode(const ParsedFrame& frame);

 private:
  LastTensor last_;
  PlaneDecoder planes_;
};

}  // namespace pinion::codec
