#pragma once
// A look into an HEVC access unit before a decoder gets it: only what docs/planes.md §5 allows may pass. Pure
// functions on hostile bytes.

#include "pinion/codec/video/video_codec.h"

namespace pinion::codec {

struct AccessUnitInfo {
  bool key = false;       // begins a video: its parameter sets, then an IDR picture
  bool checksum = false;  // carries a hash of each plane of its picture
};

// kBadFormat for what is no access unit of one picture, kUnsupported for one of another kind or with parts
// that no encoder of ours writes, kTooLarge for more bytes than a picture of that kind can need.
Result<AccessUnitInfo> inspect_access_unit(ByteSpan access_unit, const PictureKind& kind);

}  // namespace pinion::codec
