#include "bench/coded_planes.h"

#include <algorithm>
#include <thread>

#include "pinion/codec/planes/plane_side_info.h"
#include "pinion/codec/video/x265_video_codec.h"

namespace pinion::bench {
namespace {

// One video, there and back.
struct Video {
  std::unique_ptr<codec::VideoEncoder> encoder;
  std::unique_ptr<codec::VideoDecoder> decoder;

  // Codes the pictures [pictures, planes, height, width] in place; the bytes of their access units.
  Result<std::size_t> pass(Tensor& pictures, const Shape& picture_shape) const;
};

Result<std::size_t> Video::pass(Tensor& pictures, const Shape& picture_shape) const {
  std::size_t bytes = 0;
  const auto picture_bytes = static_cast<std::size_t>(picture_shape.elements());
  std::byte* const first = pictures.mutable_data();
  for (std::byte* data = first; data != first + pictures.bytes(); data += picture_bytes) {
    PINION_TRY(const codec::EncodedPicture coded,
               encoder->encode({data, DType::kU8, picture_shape, {}}, false));
    PINION_TRY(const Tensor picture, decoder->decode(coded.access_unit));
    std::copy_n(picture.view().data, picture_bytes, data);
    bytes += coded.access_unit.size();
  }
  return bytes;
}

}  // namespace

Result<std::vector<PlaneStep>> code_as_planes(std::span<const Tensor> steps,
                                              const codec::RangePacking& packing, int qp) {
  PINION_TRY(const codec::PictureLayout layout,
             codec::range_layout(packing.grid, packing.tiles_per_side, packing.padding));
  const codec::PictureKind kind{layout.width(), layout.height(), codec::PictureFormat::k444};
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::unique_ptr<codec::VideoCodec> codec = codec::create_x265_video_codec();
  Video video;
  PINION_TRY(video.encoder, codec->open_encoder({.kind = kind,
                                                 .qp = qp,
                                                 .effort = codec::CodingEffort::kThorough,
                                                 .picture_checksum = false,
                                                 .threads = threads}));
  PINION_TRY(video.decoder, codec->open_decoder({.kind = kind, .picture_checksum = false}));
  std::vector<PlaneStep> coded;
  for (const Tensor& step : steps) {
    PINION_TRY(codec::RangePictures packed, codec::pack_ranges(step, packing));
    PINION_TRY(const std::size_t video_bytes, video.pass(packed.pictures, kind.shape()));
    PINION_TRY(Tensor decoded, codec::unpack_ranges(packed.pictures, packed.ranges, packing));
    const Bytes side_info = codec::write_side_info(codec::RangeSideInfo{packing, std::move(packed.ranges)});
    coded.push_back({video_bytes + side_info.size(), std::move(decoded)});
  }
  return coded;
}

}  // namespace pinion::bench
