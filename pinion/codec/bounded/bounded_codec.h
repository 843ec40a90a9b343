#pragma once
// Mode 3 of docs/format.md §9: every element within a bound of what it was, checked by the encoder on what
// the decoder will compute. One object is used by one thread at a time and sees the frames of one stream in
// order.

#include <optional>

#include "pinion/codec/bounded/bounded_format.h"
#include "pinion/codec/bounded/bounded_loops.h"
#include "pinion/codec/last_tensor.h"
#include "pinion/codec/lossless/plane_decoder.h"
#include "pinion/codec/lossless/plane_encoder.h"

namespace pinion::codec {

// An error of at most `size`, or of `size` times the root of the mean square of the element's channel (over
// its finite elements).
struct ErrorBound {
  double size = 0;  // positive and finite
  bool relative = false;
};

class BoundedEncoder {
 public:
  // `predicts`: frames may refer to earlier ones. The pool outlives this.
  BoundedEncoder(ChunkPool& pool, const ErrorBound& bound, bool predicts)
      : bound_(bound), predicts_(predicts), planes_(pool), pool_(pool) {}

  struct Frame {
    Bytes bytes;
    bool key_frame = true;
  };
  // The tensor is on the CPU, has elements, and is of a type that mode 3 allows. NaN and infinities stay as
  // they are.
  Frame encode(const TensorView& tensor);

  // What the decoder makes of the last frame; it stays until the next.
  TensorView decoded() const { return decoded_; }

  // The last frame was not sent: the next one does not refer to it, nor to any other.
  void restart() { previous_.reset(); }

 private:
  void choose_steps(const TensorView& tensor, BoundedBody& body);
  bool should_predict(const TensorView& tensor);
  BoundedSteps steps_at(const TensorView& tensor, std::size_t element) const;
  void quantise(const TensorView& tensor, bool predicted, std::size_t begin, std::size_t count);
  void split(std::size_t number_bytes, std::size_t elements, std::size_t begin, std::size_t count);
  void escape(const TensorView& tensor, std::size_t begin, std::size_t count);

  ErrorBound bound_;
  bool predicts_;
  std::optional<std::uint32_t> previous_;  // checksum of the last frame, which decoded_ is of
  Tensor decoded_;
  std::vector<float> values_;                          // of each element
  std::vector<float> steps_, inverse_steps_, bounds_;  // of each channel, over and over
  std::vector<std::uint16_t> numbers_;                 // of each element, as if two bytes had been chosen
  std::vector<std::uint8_t> split_;                    // the planes, one after the other
  Bytes escapes_, head_;
  PlaneEncoder planes_;
  ChunkPool& pool_;
};

class BoundedDecoder {
 public:
  explicit BoundedDecoder(ChunkPool& pool) : planes_(pool) {}

  // As LosslessDecoder::decode(), of mode 3.
  Result<Tensor> decode(const ParsedFrame& frame);

 private:
  LastTensor last_;
  PlaneDecoder planes_;
};

}  // namespace pinion::codec
