#pragma once
// One video through HEVC in software and back, picture by picture, with the time of each way. For one thread
// at a time.

#include "pinion/codec/video/video_codec.h"

namespace pinion::bench {

class VideoRoundTrip {
 public:
  static Result<VideoRoundTrip> open(const codec::EncoderSettings& settings);

  struct Passed {
    Tensor pictures;        // as the receiver gets them
    std::size_t bytes = 0;  // of their access units
  };
  // `pictures`: uint8 [pictures, planes, height, width] of the settings' kind; the next ones of the video.
  Result<Passed> pass(const TensorView& pictures);

  double encode_ms() const { return encode_ms_; }
  double decode_ms() const { return decode_ms_; }

 private:
  Shape shape_;
  std::unique_ptr<codec::VideoEncoder> encoder_;
  std::unique_ptr<codec::VideoDecoder> decoder_;
  double encode_ms_ = 0, decode_ms_ = 0;
};

}  // namespace pinion::bench
