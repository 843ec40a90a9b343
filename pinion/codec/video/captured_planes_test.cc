// Hidden states of a real model through both packings and a video (tests/data/states).

#include <gtest/gtest.h>

#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/base/safetensors.h"
#include "pinion/codec/planes/plane_side_info.h"
#include "pinion/codec/video/x265_video_codec.h"

namespace pinion::codec {
namespace {

constexpr TokenGrid kGrid{16, 16};
constexpr int kSteps = 4;
constexpr double kLeastSnrDb = 11;

std::vector<Tensor> captured_steps() {
  const auto file = SafetensorsFile::open(std::filesystem::path(PINION_SOURCE_DIR) /
                                          "tests/data/states/dots_and_star.safetensors")
                        .value();
  std::vector<Tensor> steps;
  for (int t = 0; t < kSteps; ++t) steps.push_back(file.tensor("cut3.image.t" + std::to_string(t)).value());
  return steps;
}

// Error energy over energy around the mean of each channel, in dB.
double snr_db(const std::vector<float>& original, const std::vector<float>& other, std::size_t channels) {
  std::vector<double> means(channels);
  for (std::size_t i = 0; i < original.size(); ++i)
    means[i % channels] += original[i] * static_cast<double>(channels) / static_cast<double>(original.size());
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < original.size(); ++i) {
    signal += std::pow(original[i] - means[i % channels], 2);
    noise += std::pow(static_cast<double>(original[i]) - other[i], 2);
  }
  return 10 * std::log10(signal / noise);
}

// One video of one format, there and back.
class Video {
 public:
  Video(const PictureKind& kind, bool lossless, int qp) : kind_(kind) {
    const auto codec = create_x265_video_codec();
    encoder_ = codec->open_encoder({.kind = kind, .lossless = lossless, .qp = qp, .threads = 2}).value();
    decoder_ = codec->open_decoder({.kind = kind, .threads = 2}).value();
  }

  // What comes out for all pictures of a tensor; their bytes are added up.
  Tensor pass(const Tensor& pictures) {
    Tensor out = Tensor::copy_of(pictures);
    const auto picture_bytes = static_cast<std::size_t>(kind_.shape().elements());
    for (std::size_t at = 0; at < out.bytes(); at += picture_bytes) {
      const TensorView picture{pictures.view().data + at, DType::kU8, kind_.shape(), {}};
      const EncodedPicture coded = encoder_->encode(picture, false).value();
      const Tensor decoded = decoder_->decode(coded.access_unit).value();
      std::copy_n(decoded.view().data, picture_bytes, out.mutable_data() + at);
      bytes_ += coded.access_unit.size();
    }
    return out;
  }

  std::size_t take_bytes() { return std::exchange(bytes_, 0); }

 private:
  PictureKind kind_;
  std::unique_ptr<VideoEncoder> encoder_;
  std::unique_ptr<VideoDecoder> decoder_;
  std::size_t bytes_ = 0;
};

TEST(CapturedPlanes, RangesThroughLosslessVideoCostNothingMore) {
  const RangePacking packing{.grid = kGrid};
  const PictureLayout layout = range_layout(kGrid, 8, packing.padding).value();
  Video video({layout.width(), layout.height(), PictureFormat::k444}, true, 0);
  for (const Tensor& step : captured_steps()) {
    const RangePictures packed = pack_ranges(step, packing).value();
    const Tensor received = video.pass(packed.pictures);
    const std::vector<float> out = floats_of(unpack_ranges(received, packed.ranges, packing).value());
    EXPECT_EQ(out, floats_of(unpack_ranges(packed.pictures, packed.ranges, packing).value()));
    EXPECT_GE(snr_db(floats_of(step), out, packed.ranges.size()), 38);
  }
}

TEST(CapturedPlanes, ComponentsPredictedOverStepsAreSmallerAtTheSameFidelity) {
  const std::vector<Tensor> steps = captured_steps();
  const auto channels = static_cast<std::size_t>(steps.front().shape()[1]);
  const std::vector<float> first = floats_of(steps.front());
  const auto [low, high] = std::minmax_element(first.begin(), first.end());
  const ComponentPacking packing{kGrid, (*high - *low) / 200};
  const PictureLayout layout = component_layout(kGrid, channels).value();
  ASSERT_EQ(layout.pictures(channels), 1u);
  Video video({layout.width(), layout.height(), PictureFormat::kGrey}, false, 10);
  std::vector<std::int32_t> offsets;
  std::size_t key_bytes = 0;
  for (std::size_t t = 0; t < steps.size(); ++t) {
    ComponentPictures packed = pack_components(steps[t], {}, offsets, packing).value();
    const Tensor received = video.pass(packed.pictures);
    const std::vector<float> out =
        floats_of(unpack_components(received, {}, packed.offsets, packing).value());
    const ComponentSideInfo info{packing, channels, t == 0 ? packed.offsets : std::vector<std::int32_t>{}};
    const std::size_t bytes = video.take_bytes() + write_side_info(info).size();
    const double snr = snr_db(floats_of(steps[t]), out, channels);
    EXPECT_EQ(packed.clipping.values, 0u);
    EXPECT_GE(snr, kLeastSnrDb);
    if (t == 0) {
      key_bytes = bytes;
    } else {
      EXPECT_LT(bytes, key_bytes / 2);
    }
    offsets = std::move(packed.offsets);
  }
}

}  // namespace
}  // namespace pinion::codec
