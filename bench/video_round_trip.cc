#include "bench/video_round_trip.h"

#include <algorithm>

#include "pinion/base/stopwatch.h"
#include "pinion/codec/video/x265_video_codec.h"

namespace pinion::bench {

Result<VideoRoundTrip> VideoRoundTrip::open(const codec::EncoderSettings& settings) {
  const std::unique_ptr<codec::VideoCodec> codec = codec::create_x265_video_codec();
  VideoRoundTrip video;
  video.shape_ = settings.kind.shape();
  PINION_TRY(video.encoder_, codec->open_encoder(settings));
  PINION_TRY(video.decoder_, codec->open_decoder({.kind = settings.kind,
                                                  .picture_checksum = settings.picture_checksum,
                                                  .threads = settings.threads}));
  return video;
}

Result<VideoRoundTrip::Passed> VideoRoundTrip::pass(const TensorView& pictures) {
  Passed out{Tensor::copy_of(pictures)};
  const auto picture_bytes = static_cast<std::size_t>(shape_.elements());
  for (std::size_t at = 0; at < pictures.bytes(); at += picture_bytes) {
    Stopwatch watch;
    PINION_TRY(const codec::EncodedPicture coded,
               encoder_->encode({pictures.data + at, DType::kU8, shape_, {}}, false));
    encode_ms_ += watch.lap_ms();
    PINION_TRY(const Tensor decoded, decoder_->decode(coded.access_unit));
    decode_ms_ += watch.lap_ms();
    std::copy_n(decoded.view().data, picture_bytes, out.pictures.mutable_data() + at);
    out.bytes += coded.access_unit.size();
  }
  return out;
}

}  // namespace pinion::bench
