#pragma once
// HEVC in software: x265 encodes, libde265 decodes. In the library pinion_video, which a program links only
// if it wants this. Where the two are not installed, every open_… fails with kUnsupported.

#include "pinion/codec/video/video_codec.h"

namespace pinion::codec {

// Takes pictures in host memory. CodingEffort: preset ultrafast or medium, tuned for PSNR in both.
// x265 3.5 itself loses about 3 kB for every encoder that is opened: keep one open for a whole stream.
std::unique_ptr<VideoCodec> create_x265_video_codec();

}  // namespace pinion::codec
