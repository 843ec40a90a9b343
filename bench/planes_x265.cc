#include "bench/planes_x265.h"

#include <x265.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "pinion/base/float_formats.h"

namespace pinion::bench {
namespace {

constexpr std::size_t kTilesPerSide = 8;
constexpr std::size_t kTilesPerPlane = kTilesPerSide * kTilesPerSide;
constexpr std::size_t kPlanes = 3;
constexpr std::size_t kChannelsPerPicture = kTilesPerPlane * kPlanes;
constexpr std::size_t kRangeBytes = 4;
constexpr std::uint8_t kGrey = 128;

using Plane = std::vector<std::uint8_t>;
using Picture = std::array<Plane, kPlanes>;

struct PictureSize {
  std::size_t width = 0;
  std::size_t height = 0;
};

struct Range {
  float low = 0;
  float high = 0;
};

struct EncodedPicture {
  std::size_t bytes = 0;
  Picture reconstructed;
};

std::size_t padded(std::size_t side, PlanePadding padding) {
  const std::size_t multiple = padding == PlanePadding::kLean ? 8 : 16;
  const std::size_t least = padding == PlanePadding::kLean ? 32 : 144;
  return std::max(least, (side + multiple - 1) / multiple * multiple);
}

PictureSize picture_size(const PlaneSettings& settings) {
  return {padded(static_cast<std::size_t>(settings.grid.columns) * kTilesPerSide, settings.padding),
          padded(static_cast<std::size_t>(settings.grid.rows) * kTilesPerSide, settings.padding)};
}

// The ranges as the other side gets them, in half precision.
std::vector<Range> channel_ranges(std::span<const float> values, std::size_t channels) {
  std::vector<Range> ranges(channels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Range& range = ranges[i % channels];
    range.low = i < channels ? values[i] : std::min(range.low, values[i]);
    range.high = i < channels ? values[i] : std::max(range.high, values[i]);
  }
  for (Range& range : ranges) {
    range.low = f16_to_float(float_to_f16(range.low));
    range.high = f16_to_float(float_to_f16(range.high));
  }
  return ranges;
}

std::uint8_t quantise(float value, const Range& range) {
  if (!(range.high > range.low)) return kGrey;
  return static_cast<std::uint8_t>(
      std::lround(std::clamp((value - range.low) / (range.high - range.low), 0.0f, 1.0f) * 255));
}

// Where the tile of `channel` begins in its picture.
struct TilePlace {
  std::size_t picture, plane, row, column;
};

TilePlace tile_place(std::size_t slot, const TokenGrid& grid) {
  const std::size_t in_plane = slot % kTilesPerPlane;
  return {slot / kChannelsPerPicture, slot % kChannelsPerPicture / kTilesPerPlane,
          in_plane / kTilesPerSide * static_cast<std::size_t>(grid.rows),
          in_plane % kTilesPerSide * static_cast<std::size_t>(grid.columns)};
}

// Repeats the last used column and row into the padding at the right and at the bottom.
void extend_edges(Plane& plane, const PictureSize& size, const PictureSize& used) {
  for (std::size_t y = 0; y < used.height; ++y) {
    const auto row = plane.begin() + static_cast<std::ptrdiff_t>(y * size.width);
    std::fill(row + static_cast<std::ptrdiff_t>(used.width), row + static_cast<std::ptrdiff_t>(size.width),
              row[static_cast<std::ptrdiff_t>(used.width) - 1]);
  }
  for (std::size_t y = used.height; y < size.height; ++y) {
    std::copy_n(plane.begin() + static_cast<std::ptrdiff_t>((used.height - 1) * size.width), size.width,
                plane.begin() + static_cast<std::ptrdiff_t>(y * size.width));
  }
}

std::vector<Picture> pack(std::span<const float> values, std::span<const Range> ranges,
                          const PlaneSettings& settings) {
  const PictureSize size = picture_size(settings);
  const auto rows = static_cast<std::size_t>(settings.grid.rows);
  const auto columns = static_cast<std::size_t>(settings.grid.columns);
  const std::size_t count = (settings.channels + kChannelsPerPicture - 1) / kChannelsPerPicture;
  const Plane empty(size.width * size.height, kGrey);
  std::vector<Picture> pictures(count, Picture{empty, empty, empty});
  const std::size_t slots =
      settings.padding == PlanePadding::kLean ? settings.channels : count * kChannelsPerPicture;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::size_t channel = std::min(slot, settings.channels - 1);
    const TilePlace place = tile_place(slot, settings.grid);
    Plane& plane = pictures[place.picture][place.plane];
    for (std::size_t token = 0; token < rows * columns; ++token) {
      plane[(place.row + token / columns) * size.width + place.column + token % columns] =
          quantise(values[token * settings.channels + channel], ranges[channel]);
    }
  }
  const PictureSize used{columns * kTilesPerSide, rows * kTilesPerSide};
  for (Picture& picture : pictures) {
    for (Plane& plane : picture) extend_edges(plane, size, used);
  }
  return pictures;
}

std::vector<float> unpack(std::span<const EncodedPicture> pictures, std::span<const Range> ranges,
                          const PlaneSettings& settings) {
  const PictureSize size = picture_size(settings);
  const auto columns = static_cast<std::size_t>(settings.grid.columns);
  const std::size_t tokens = static_cast<std::size_t>(settings.grid.rows) * columns;
  std::vector<float> values(tokens * settings.channels);
  for (std::size_t channel = 0; channel < settings.channels; ++channel) {
    const TilePlace place = tile_place(channel, settings.grid);
    const Plane& plane = pictures[place.picture].reconstructed[place.plane];
    const Range& range = ranges[channel];
    for (std::size_t token = 0; token < tokens; ++token) {
      const float level = plane[(place.row + token / columns) * size.width + place.column + token % columns];
      values[token * settings.channels + channel] = level / 255 * (range.high - range.low) + range.low;
    }
  }
  return values;
}

// One x265 session; pictures come out in the order they went in.
class VideoEncoder {
 public:
  static Result<std::unique_ptr<VideoEncoder>> create(const PictureSize& size, int qp);
  VideoEncoder(const x265_api* api, x265_param* param, const PictureSize& size)
      : api_(api), param_(param), size_(size) {}
  VideoEncoder(const VideoEncoder&) = delete;
  VideoEncoder& operator=(const VideoEncoder&) = delete;
  ~VideoEncoder() {
    if (encoder_ != nullptr) api_->encoder_close(encoder_);
    api_->param_free(param_);
  }

  Result<std::vector<EncodedPicture>> encode(std::span<Picture> pictures);

 private:
  // Feeds one picture, or nullptr to flush; what comes out is appended. False at the end of the stream.
  Result<bool> exchange(Picture* in, std::vector<EncodedPicture>& out);

  const x265_api* api_;
  x265_param* param_;
  PictureSize size_;
  x265_encoder* encoder_ = nullptr;
  std::int64_t next_pts_ = 0;
};

Result<std::unique_ptr<VideoEncoder>> VideoEncoder::create(const PictureSize& size, int qp) {
  const x265_api* const api = x265_api_get(8);
  if (api == nullptr) return Error{Errc::kUnsupported, "this libx265 has no 8-bit encoder", {}};
  auto coder = std::make_unique<VideoEncoder>(api, api->param_alloc(), size);
  x265_param& param = *coder->param_;
  api->param_default_preset(&param, "medium", "psnr");
  param.logLevel = X265_LOG_NONE;
  param.sourceWidth = static_cast<int>(size.width);
  param.sourceHeight = static_cast<int>(size.height);
  param.internalCsp = X265_CSP_I444;
  param.fpsNum = 30;
  param.fpsDenom = 1;
  param.rc.rateControlMode = X265_RC_CQP;
  param.rc.qp = qp;
  param.rc.ipFactor = 1;
  param.rc.pbFactor = 1;
  param.rc.aqMode = X265_AQ_NONE;
  param.rc.cuTree = 0;
  param.bframes = 0;
  param.bFrameAdaptive = X265_B_ADAPT_NONE;
  param.lookaheadDepth = 0;
  param.scenecutThreshold = 0;
  param.keyframeMax = -1;
  param.bEmitInfoSEI = 0;
  param.bRepeatHeaders = 0;
  param.frameNumThreads = 1;
  coder->encoder_ = api->encoder_open(&param);
  if (coder->encoder_ == nullptr) {
    return Error{Errc::kUnsupported,
                 "x265 refuses pictures of " + std::to_string(size.width) + "x" + std::to_string(size.height),
                 {}};
  }
  return coder;
}

Result<bool> VideoEncoder::exchange(Picture* in, std::vector<EncodedPicture>& out) {
  const std::unique_ptr<x265_picture, void (*)(x265_picture*)> source(api_->picture_alloc(),
                                                                      api_->picture_free);
  const std::unique_ptr<x265_picture, void (*)(x265_picture*)> coded(api_->picture_alloc(),
                                                                     api_->picture_free);
  api_->picture_init(param_, source.get());
  api_->picture_init(param_, coded.get());
  if (in != nullptr) {
    for (std::size_t p = 0; p < kPlanes; ++p) {
      source->planes[p] = (*in)[p].data();
      source->stride[p] = static_cast<int>(size_.width);
    }
    source->pts = next_pts_++;
  }
  x265_nal* nals = nullptr;
  std::uint32_t nal_count = 0;
  const int done =
      api_->encoder_encode(encoder_, &nals, &nal_count, in == nullptr ? nullptr : source.get(), coded.get());
  if (done < 0) return Error{Errc::kInternal, "x265 failed to encode a picture", {}};
  if (done == 0) return false;
  EncodedPicture picture;
  for (std::uint32_t n = 0; n < nal_count; ++n) picture.bytes += nals[n].sizeBytes;
  for (std::size_t p = 0; p < kPlanes; ++p) {
    const auto* const plane = static_cast<const std::uint8_t*>(coded->planes[p]);
    for (std::size_t y = 0; y < size_.height; ++y) {
      const std::uint8_t* const row = plane + y * static_cast<std::size_t>(coded->stride[p]);
      picture.reconstructed[p].insert(picture.reconstructed[p].end(), row, row + size_.width);
    }
  }
  out.push_back(std::move(picture));
  return true;
}

Result<std::vector<EncodedPicture>> VideoEncoder::encode(std::span<Picture> pictures) {
  x265_nal* nals = nullptr;
  std::uint32_t nal_count = 0;
  if (api_->encoder_headers(encoder_, &nals, &nal_count) < 0) {
    return Error{Errc::kInternal, "x265 gave no parameter sets", {}};
  }
  std::size_t header_bytes = 0;
  for (std::uint32_t n = 0; n < nal_count; ++n) header_bytes += nals[n].sizeBytes;
  std::vector<EncodedPicture> out;
  for (Picture& picture : pictures) {
    PINION_TRY([[maybe_unused]] const bool any, exchange(&picture, out));
  }
  for (bool more = out.size() < pictures.size(); more;) {
    PINION_TRY(more, exchange(nullptr, out));
  }
  if (out.size() != pictures.size()) return Error{Errc::kInternal, "x265 lost a picture", {}};
  out.front().bytes += header_bytes;
  return out;
}

}  // namespace

Result<std::vector<PlaneStep>> code_as_planes(std::span<const std::vector<float>> steps,
                                              const PlaneSettings& settings) {
  PINION_ASSERT(!steps.empty());
  std::vector<std::vector<Range>> ranges;
  std::vector<Picture> pictures;
  for (const std::vector<float>& step : steps) {
    ranges.push_back(channel_ranges(step, settings.channels));
    for (Picture& picture : pack(step, ranges.back(), settings)) pictures.push_back(std::move(picture));
  }
  PINION_TRY(const std::unique_ptr<VideoEncoder> encoder,
             VideoEncoder::create(picture_size(settings), settings.qp));
  PINION_TRY(const std::vector<EncodedPicture> coded, encoder->encode(pictures));
  const std::size_t per_step = coded.size() / steps.size();
  std::vector<PlaneStep> out;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const std::span<const EncodedPicture> part{coded.data() + s * per_step, per_step};
    PlaneStep step{settings.channels * kRangeBytes, unpack(part, ranges[s], settings)};
    for (const EncodedPicture& picture : part) step.bytes += picture.bytes;
    out.push_back(std::move(step));
  }
  return out;
}

}  // namespace pinion::bench
