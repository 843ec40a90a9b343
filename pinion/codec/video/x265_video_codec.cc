#include "pinion/codec/video/x265_video_codec.h"

#include "pinion/codec/video/de265_decoder.h"
#include "pinion/codec/video/x265_encoder.h"

namespace pinion::codec {
namespace {

class X265VideoCodec final : public VideoCodec {
 public:
  Result<std::unique_ptr<VideoEncoder>> open_encoder(const EncoderSettings& settings) const override {
    return open_x265_encoder(settings);
  }
  Result<std::unique_ptr<VideoDecoder>> open_decoder(const DecoderSettings& settings) const override {
    return open_de265_decoder(settings);
  }
};

}  // namespace

std::unique_ptr<VideoCodec> create_x265_video_codec() { return std::make_unique<X265VideoCodec>(); }

}  // namespace pinion::codec
