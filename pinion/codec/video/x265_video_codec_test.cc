#include "pinion/codec/video/x265_video_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "pinion/codec/video/hevc_units.h"

// x265 3.5 loses memory of its own whenever an encoder is opened.
extern "C" const char* __lsan_default_suppressions() { return "leak:libx265"; }

namespace pinion::codec {
namespace {

constexpr PictureKind kKind{160, 144, PictureFormat::kGrey};
constexpr int kPictures = 4;

// A smooth picture with noise, both changing a little from step to step.
Tensor picture_of(const PictureKind& kind, int step) {
  Tensor picture = Tensor::empty(DType::kU8, kind.shape());
  auto* const samples = reinterpret_cast<std::uint8_t*>(picture.mutable_data());
  std::mt19937 still(1), moving(static_cast<unsigned>(step) + 2);
  for (std::size_t i = 0; i < picture.bytes(); ++i) {
    const double x = static_cast<double>(i % kind.width), y = static_cast<double>(i / kind.width);
    const double smooth = 128 + 60 * std::sin(x / 11 + 0.02 * step) * std::cos(y / 17);
    samples[i] = static_cast<std::uint8_t>(smooth + static_cast<int>(still() % 31) - 15 +
                                           static_cast<int>(moving() % 3) - 1);
  }
  return picture;
}

double mean_square_error(const TensorView& a, const TensorView& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.bytes(); ++i)
    sum += std::pow(static_cast<int>(a.data[i]) - static_cast<int>(b.data[i]), 2);
  return sum / static_cast<double>(a.bytes());
}

double psnr_db(const TensorView& a, const TensorView& b) {
  return 10 * std::log10(255.0 * 255.0 / std::max(mean_square_error(a, b), 1e-9));
}

std::unique_ptr<VideoEncoder> encoder_of(const EncoderSettings& settings) {
  return create_x265_video_codec()->open_encoder(settings).value();
}

std::unique_ptr<VideoDecoder> decoder_of(const PictureKind& kind, int threads = 1) {
  return create_x265_video_codec()->open_decoder({.kind = kind, .threads = threads}).value();
}

// The access units of a video; `key_at`: a key picture in the middle.
std::vector<Bytes> video_of(const EncoderSettings& settings, int key_at = -1) {
  const auto encoder = encoder_of(settings);
  std::vector<Bytes> units;
  for (int s = 0; s < kPictures; ++s) {
    EncodedPicture coded = encoder->encode(picture_of(settings.kind, s), s == key_at).value();
    EXPECT_EQ(coded.key, s == 0 || s == key_at);
    EXPECT_EQ(inspect_access_unit(coded.access_unit, settings.kind)->key, coded.key);
    units.push_back(std::move(coded.access_unit));
  }
  return units;
}

TEST(X265VideoCodec, LosslessIsExactPictureByPictureWithoutDelay) {
  for (const PictureFormat format : {PictureFormat::kGrey, PictureFormat::kGreyIn420, PictureFormat::k444}) {
    for (const CodingEffort effort : {CodingEffort::kFast, CodingEffort::kThorough}) {
      const PictureKind kind{160, 144, format};
      const auto encoder = encoder_of({.kind = kind, .lossless = true, .effort = effort, .threads = 2});
      const auto decoder = decoder_of(kind, 2);
      for (int s = 0; s < kPictures; ++s) {
        const Tensor picture = picture_of(kind, s);
        const EncodedPicture coded = encoder->encode(picture, s == 2).value();
        EXPECT_EQ(coded.key, s == 0 || s == 2);
        const auto decoded = decoder->decode(coded.access_unit);
        ASSERT_TRUE(decoded.ok()) << decoded.error().message();
        ASSERT_EQ(decoded->shape(), picture.shape());
        EXPECT_EQ(std::memcmp(decoded->view().data, picture.view().data, picture.bytes()), 0);
        if (s == 1) {
          EXPECT_LT(coded.access_unit.size(), picture.bytes() / 3);
        }
      }
    }
  }
}

// The error of a constant QP is that of a uniform quantiser whose step doubles every 6 QPs and is 1 at QP 4,
// and of rounding to levels; 3 dB more for the encoder's dead zone.
TEST(X265VideoCodec, LossyStaysNearTheErrorOfItsStep) {
  for (const int qp : {4, 16, 28}) {
    const double step = std::exp2((qp - 4) / 6.0);
    const double least_psnr = 10 * std::log10(255.0 * 255.0 / (step * step / 12 + 1.0 / 12)) - 3;
    for (const CodingEffort effort : {CodingEffort::kFast, CodingEffort::kThorough}) {
      const auto encoder = encoder_of({.kind = kKind, .qp = qp, .effort = effort});
      const auto decoder = decoder_of(kKind);
      for (int s = 0; s < kPictures; ++s) {
        const Tensor picture = picture_of(kKind, s);
        const Tensor decoded = decoder->decode(encoder->encode(picture, false)->access_unit).value();
        EXPECT_GE(psnr_db(picture, decoded), least_psnr) << "QP " << qp << " picture " << s;
      }
    }
  }
}

TEST(X265VideoCodec, BytesDoNotDependOnThreads) {
  EXPECT_EQ(video_of({.kind = kKind, .threads = 1}), video_of({.kind = kKind, .threads = 3}));
}

TEST(X265VideoCodec, RefusesSettingsAndPicturesThatCannotBe) {
  const auto codec = create_x265_video_codec();
  const auto code = [&](const EncoderSettings& settings) {
    return codec->open_encoder(settings).error().code;
  };
  EXPECT_EQ(code({.kind = {100, 144, {}}}), Errc::kInvalidArgument);
  EXPECT_EQ(code({.kind = {160, 8200, {}}}), Errc::kInvalidArgument);
  EXPECT_EQ(code({.kind = kKind, .qp = 52}), Errc::kInvalidArgument);
  EXPECT_EQ(code({.kind = kKind, .threads = 0}), Errc::kInvalidArgument);
  EXPECT_EQ(codec->open_decoder({.kind = {160, 0, {}}}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(codec->open_decoder({.kind = kKind, .threads = 0}).error().code, Errc::kInvalidArgument);
  const auto encoder = encoder_of({.kind = kKind});
  EXPECT_EQ(encoder->encode(Tensor::empty(DType::kU8, {1, 144, 168}), false).error().code,
            Errc::kInvalidArgument);
  EXPECT_TRUE(encoder->encode(picture_of(kKind, 0), false).ok());
}

TEST(X265VideoCodec, AKeyPictureIsNeededAtFirstAndAfterAnError) {
  const std::vector<Bytes> units = video_of({.kind = kKind}, 3);
  const auto decoder = decoder_of(kKind);
  EXPECT_EQ(decoder->decode(units[1]).error().code, Errc::kNotFound);
  EXPECT_TRUE(decoder->decode(units[0]).ok());
  EXPECT_FALSE(decoder->decode(ByteSpan(units[1]).first(20)).ok());
  EXPECT_EQ(decoder->decode(units[2]).error().code, Errc::kNotFound);
  EXPECT_TRUE(decoder->decode(units[3]).ok());
}

TEST(X265VideoCodec, ALostPictureIsNoticed) {
  const std::vector<Bytes> units = video_of({.kind = kKind});
  const auto decoder = decoder_of(kKind);
  EXPECT_TRUE(decoder->decode(units[0]).ok());
  EXPECT_FALSE(decoder->decode(units[2]).ok());
}

TEST(X265VideoCodec, AnotherKindOfVideoIsRefused) {
  const std::vector<Bytes> units = video_of({.kind = kKind});
  for (const PictureKind& other :
       {PictureKind{160, 152, PictureFormat::kGrey}, PictureKind{168, 144, {}},
        PictureKind{160, 144, PictureFormat::kGreyIn420}, PictureKind{160, 144, PictureFormat::k444}}) {
    EXPECT_EQ(decoder_of(other)->decode(units[0]).error().code, Errc::kUnsupported);
  }
  Bytes two = units[0];
  two.insert(two.end(), units[0].begin(), units[0].end());
  EXPECT_FALSE(decoder_of(kKind)->decode(two).ok());
  EXPECT_EQ(decoder_of(kKind)->decode(Bytes(1 << 20)).error().code, Errc::kTooLarge);
  EXPECT_EQ(decoder_of(kKind)->decode({}).error().code, Errc::kBadFormat);
}

// Damage either is an error or leaves the picture as it was; a predicted picture is damaged behind a good key
// picture, so that libde265 gets it.
TEST(X265VideoCodec, DamageIsAnErrorNeverAWrongPicture) {
  const std::vector<Bytes> units = video_of({.kind = kKind, .qp = 30});
  const auto clean = decoder_of(kKind);
  const std::vector<Tensor> right{clean->decode(units[0]).value(), clean->decode(units[1]).value()};
  std::mt19937 random(11);
  int errors = 0, tries = 0;
  const auto expect_error_or_right = [&](std::size_t which, const Bytes& damaged, int threads) {
    const auto decoder = decoder_of(kKind, threads);
    if (which == 1) {
      ASSERT_TRUE(decoder->decode(units[0]).ok());
    }
    const auto decoded = decoder->decode(damaged);
    ++tries;
    errors += !decoded.ok();
    if (decoded.ok()) {
      EXPECT_EQ(std::memcmp(decoded->view().data, right[which].view().data, decoded->bytes()), 0)
          << "picture " << which << " threads " << threads << " bytes " << damaged.size();
    }
  };
  for (const std::size_t which : {0u, 1u}) {
    const Bytes& whole = units[which];
    for (int i = 0; i < 60; ++i) {
      Bytes damaged = whole;
      damaged[random() % damaged.size()] ^= static_cast<std::byte>(1 + random() % 255);
      expect_error_or_right(which, damaged, 1 + i % 2);
      damaged = whole;
      damaged.resize(random() % damaged.size());
      expect_error_or_right(which, damaged, 1 + i % 2);
    }
  }
  EXPECT_GE(errors, tries * 9 / 10);
}

TEST(X265VideoCodec, GarbageIsRefused) {
  std::mt19937 random(12);
  const auto decoder = decoder_of(kKind, 2);
  for (int i = 0; i < 2000; ++i) {
    Bytes garbage(random() % 300);
    for (std::byte& byte : garbage)
      byte = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 2);
    const Bytes start{std::byte{0}, std::byte{0}, std::byte{1}};
    if (i % 2 == 0) garbage.insert(garbage.begin(), start.begin(), start.end());
    EXPECT_FALSE(decoder->decode(garbage).ok());
  }
}

}  // namespace
}  // namespace pinion::codec
