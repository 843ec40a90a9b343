#include "pinion/codec/video/x265_encoder.h"

#include <x265.h>

#include <span>

namespace pinion::codec {
namespace {

constexpr int kBits = 8;
constexpr int kGreatestQp = 51;
constexpr int kChecksumSei = 3;

int colour_space(PictureFormat format) {
  switch (format) {
    case PictureFormat::kGrey:
      return X265_CSP_I400;
    case PictureFormat::kGreyIn420:
      return X265_CSP_I420;
    case PictureFormat::k444:
      return X265_CSP_I444;
  }
  return X265_CSP_I400;
}

// A picture comes out when it goes in: no look-ahead, no B pictures, one picture in work at a time. Its rows
// still share the threads.
void set_without_delay(x265_param& param) {
  param.bframes = 0;
  param.bFrameAdaptive = X265_B_ADAPT_NONE;
  param.lookaheadDepth = 0;
  param.scenecutThreshold = 0;
  param.rc.cuTree = 0;
  param.frameNumThreads = 1;
  param.keyframeMax = -1;  // key pictures only where the caller asks for them
  param.bOpenGOP = 0;      // and those forget all pictures before
}

void set_quality(x265_param& param, const EncoderSettings& settings) {
  param.rc.rateControlMode = X265_RC_CQP;
  param.rc.qp = settings.qp;
  param.rc.ipFactor = 1;
  param.rc.pbFactor = 1;
  param.rc.aqMode = X265_AQ_NONE;
  param.bLossless = settings.lossless ? 1 : 0;
}

class X265Encoder final : public VideoEncoder {
 public:
  X265Encoder(const x265_api* api, const PictureKind& kind)
      : api_(api), kind_(kind), param_(api->param_alloc()), picture_(api->picture_alloc()) {
    // param_free() looks into the settings.
    if (param_ != nullptr) api_->param_default(param_);
  }
  X265Encoder(const X265Encoder&) = delete;
  X265Encoder& operator=(const X265Encoder&) = delete;
  ~X265Encoder() override {
    if (encoder_ != nullptr) api_->encoder_close(encoder_);
    if (picture_ != nullptr) api_->picture_free(picture_);
    if (param_ != nullptr) api_->param_free(param_);
  }

  Result<void> open(const EncoderSettings& settings);
  Result<EncodedPicture> encode(const TensorView& picture, bool key) override;

 private:
  void describe(const TensorView& picture, bool key);

  const x265_api* api_;
  PictureKind kind_;
  x265_param* param_;
  x265_picture* picture_;
  x265_encoder* encoder_ = nullptr;
  std::string pools_;                         // param_ points into it
  std::vector<std::uint8_t> neutral_chroma_;  // of kGreyIn420: one plane, for both
  std::int64_t next_time_ = 0;
};

Result<void> X265Encoder::open(const EncoderSettings& settings) {
  if (param_ == nullptr || picture_ == nullptr) return Error{Errc::kOutOfMemory, "x265 got no memory", ""};
  const char* const preset = settings.effort == CodingEffort::kFast ? "ultrafast" : "medium";
  if (api_->param_default_preset(param_, preset, "psnr") != 0) {
    return Error{Errc::kUnsupported, "this x265 does not know the settings of ours", ""};
  }
  pools_ = std::to_string(settings.threads);
  param_->numaPools = pools_.c_str();
  param_->logLevel = X265_LOG_NONE;
  param_->sourceWidth = static_cast<int>(kind_.width);
  param_->sourceHeight = static_cast<int>(kind_.height);
  param_->internalCsp = colour_space(kind_.format);
  param_->fpsNum = 30;
  param_->fpsDenom = 1;
  set_without_delay(*param_);
  set_quality(*param_, settings);
  param_->bEmitInfoSEI = 0;
  param_->bRepeatHeaders = 1;
  param_->decodedPictureHashSEI = settings.picture_checksum ? kChecksumSei : 0;
  encoder_ = api_->encoder_open(param_);
  if (encoder_ == nullptr) {
    return Error{
        Errc::kUnsupported,
        "x265 refuses pictures of " + std::to_string(kind_.width) + " x " + std::to_string(kind_.height), ""};
  }
  api_->picture_init(param_, picture_);
  if (kind_.format == PictureFormat::kGreyIn420)
    neutral_chroma_.assign(kind_.width / 2 * (kind_.height / 2), kGreyLevel);
  return {};
}

void X265Encoder::describe(const TensorView& picture, bool key) {
  const std::size_t samples = kind_.width * kind_.height;
  // x265's interface is not const, but it only reads.
  auto* const data = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(picture.data));
  for (std::size_t p = 0; p < plane_count(kind_.format); ++p) {
    picture_->planes[p] = data + p * samples;
    picture_->stride[p] = static_cast<int>(kind_.width);
  }
  for (const int p : {1, 2}) {
    if (kind_.format != PictureFormat::kGreyIn420) break;
    picture_->planes[p] = neutral_chroma_.data();
    picture_->stride[p] = static_cast<int>(kind_.width / 2);
  }
  picture_->sliceType = key || next_time_ == 0 ? X265_TYPE_IDR : X265_TYPE_P;
  picture_->pts = next_time_++;
}

Result<EncodedPicture> X265Encoder::encode(const TensorView& picture, bool key) {
  if (!picture.device.is_cpu() || picture.dtype != DType::kU8 || !(picture.shape == kind_.shape())) {
    return Error{Errc::kInvalidArgument,
                 "this video has pictures U8 " + to_string(kind_.shape()) + " in host memory, not " +
                     std::string(name(picture.dtype)) + " " + to_string(picture.shape),
                 ""};
  }
  describe(picture, key);
  x265_nal* units = nullptr;
  std::uint32_t unit_count = 0;
  const int pictures = api_->encoder_encode(encoder_, &units, &unit_count, picture_, nullptr);
  if (pictures != 1 || unit_count == 0)
    return Error{Errc::kInternal, "x265 gave no access unit for a picture", ""};
  EncodedPicture coded;
  for (const x265_nal& unit : std::span(units, unit_count)) {
    const auto* const bytes = reinterpret_cast<const std::byte*>(unit.payload);
    coded.access_unit.insert(coded.access_unit.end(), bytes, bytes + unit.sizeBytes);
    coded.key = coded.key || unit.type == NAL_UNIT_CODED_SLICE_IDR_W_RADL ||
                unit.type == NAL_UNIT_CODED_SLICE_IDR_N_LP;
  }
  return coded;
}

}  // namespace

Result<std::unique_ptr<VideoEncoder>> open_x265_encoder(const EncoderSettings& settings) {
  PINION_TRY_VOID(settings.kind.check());
  if (settings.qp < 0 || settings.qp > kGreatestQp || settings.threads < 1) {
    return Error{Errc::kInvalidArgument,
                 "QP " + std::to_string(settings.qp) + " with " + std::to_string(settings.threads) +
                     " threads: QPs are 0 to 51, and there is at least one thread",
                 ""};
  }
  const x265_api* const api = x265_api_get(kBits);
  if (api == nullptr) return Error{Errc::kUnsupported, "this libx265 has no 8-bit encoder", ""};
  auto encoder = std::make_unique<X265Encoder>(api, settings.kind);
  PINION_TRY_VOID(encoder->open(settings));
  return std::unique_ptr<VideoEncoder>(std::move(encoder));
}

}  // namespace pinion::codec
