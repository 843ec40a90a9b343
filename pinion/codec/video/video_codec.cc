#include "pinion/codec/video/video_codec.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kSideMultiple = 8;  // HEVC's least coding block
constexpr std::size_t kLeastSide = 32;

bool is_side(std::size_t side) {
  return side >= kLeastSide && side <= kMaxPictureSide && side % kSideMultiple == 0;
}

}  // namespace

std::size_t plane_count(PictureFormat format) { return format == PictureFormat::k444 ? 3 : 1; }

Shape PictureKind::shape() const {
  return {static_cast<std::int64_t>(plane_count(format)), static_cast<std::int64_t>(height),
          static_cast<std::int64_t>(width)};
}

Result<void> PictureKind::check() const {
  if (is_side(width) && is_side(height)) return {};
  return Error{Errc::kInvalidArgument,
               "pictures of " + std::to_string(width) + " x " + std::to_string(height) + " cannot be coded",
               "sides are multiples of 8 from 32 to " + std::to_string(kMaxPictureSide)};
}

}  // namespace pinion::codec
