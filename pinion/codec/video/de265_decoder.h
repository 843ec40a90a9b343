#pragma once
// The decoder half of x265_video_codec.h.

#include "pinion/codec/video/video_codec.h"

namespace pinion::codec {

Result<std::unique_ptr<VideoDecoder>> open_de265_decoder(const DecoderSettings& settings);

}  // namespace pinion::codec
