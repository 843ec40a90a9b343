// Stands in for x265_video_codec.cc where x265 or libde265 is not installed.

#include "pinion/codec/video/x265_video_codec.h"

namespace pinion::codec {
namespace {

Error not_built() {
  return {Errc::kUnsupported, "this build has no video coding in software",
          "install libx265-dev and libde265-dev, and build again"};
}

class NoVideoCodec final : public VideoCodec {
 public:
  Result<std::unique_ptr<VideoEncoder>> open_encoder(const EncoderSettings&) const override {
    return not_built();
  }
  Result<std::unique_ptr<VideoDecoder>> open_decoder(const DecoderSettings&) const override {
    return not_built();
  }
};

}  // namespace

std::unique_ptr<VideoCodec> create_x265_video_codec() { return std::make_unique<NoVideoCodec>(); }

}  // namespace pinion::codec
