#include "bench/coded_planes.h"

#include "bench/video_round_trip.h"
#include "pinion/codec/planes/plane_side_info.h"

namespace pinion::bench {
Result<std::vector<PlaneStep>> code_as_planes(std::span<const Tensor> steps,
                                              const codec::RangePacking& packing, int qp, int threads) {
  PINION_TRY(const codec::PictureLayout layout,
             codec::range_layout(packing.grid, packing.tiles_per_side, packing.padding));
  const codec::PictureKind kind{layout.width(), layout.height(), codec::PictureFormat::k444};
  PINION_TRY(VideoRoundTrip video, VideoRoundTrip::open({.kind = kind,
                                                         .qp = qp,
                                                         .effort = codec::CodingEffort::kThorough,
                                                         .picture_checksum = false,
                                                         .threads = threads}));
  std::vector<PlaneStep> coded;
  for (const Tensor& step : steps) {
    PINION_TRY(codec::RangePictures packed, codec::pack_ranges(step, packing));
    PINION_TRY(const VideoRoundTrip::Passed passed, video.pass(packed.pictures));
    PINION_TRY(Tensor decoded, codec::unpack_ranges(passed.pictures, packed.ranges, packing));
    const Bytes side_info = codec::write_side_info(codec::RangeSideInfo{packing, std::move(packed.ranges)});
    coded.push_back({passed.bytes + side_info.size(), std::move(decoded)});
  }
  return coded;
}

}  // namespace pinion::bench
