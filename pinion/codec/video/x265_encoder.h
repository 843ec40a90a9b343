#pragma once
// The encoder half of x265_video_codec.h.

#include "pinion/codec/video/video_codec.h"

namespace pinion::codec {

Result<std::unique_ptr<VideoEncoder>> open_x265_encoder(const EncoderSettings& settings);

}  // namespace pinion::codec
