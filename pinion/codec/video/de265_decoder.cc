#include "pinion/codec/video/de265_decoder.h"

#include <libde265/de265.h>

#include <cstring>
#include <utility>

#include "pinion/codec/video/hevc_units.h"

namespace pinion::codec {
namespace {

struct FreeContext {
  void operator()(de265_decoder_context* context) const { de265_free_decoder(context); }
};
using Context = std::unique_ptr<de265_decoder_context, FreeContext>;

de265_chroma chroma_of(PictureFormat format) {
  switch (format) {
    case PictureFormat::kGrey:
      return de265_chroma_mono;
    case PictureFormat::kGreyIn420:
      return de265_chroma_420;
    case PictureFormat::k444:
      return de265_chroma_444;
  }
  return de265_chroma_mono;
}

Error broken(de265_error error) {
  const Errc code = error == DE265_ERROR_OUT_OF_MEMORY ? Errc::kOutOfMemory : Errc::kBadFormat;
  return {code, std::string("video: ") + de265_get_error_text(error), ""};
}

class De265Decoder final : public VideoDecoder {
 public:
  explicit De265Decoder(const DecoderSettings& settings)
      : kind_(settings.kind), checksum_(settings.picture_checksum), threads_(settings.threads) {}

  Result<Tensor> decode(ByteSpan access_unit) override;

 private:
  Result<void> restart();
  Result<void> run(ByteSpan access_unit);
  bool is_done() const;
  // The one picture that must have come out.
  Result<Tensor> take_picture();

  PictureKind kind_;
  bool checksum_;
  int threads_;
  Context context_;
  bool whole_ = false;  // every picture since the key picture was decoded without an error
};

Result<void> De265Decoder::restart() {
  context_.reset(de265_new_decoder());
  if (context_ == nullptr) return Error{Errc::kOutOfMemory, "libde265 does not start", ""};
  de265_set_parameter_bool(context_.get(), DE265_DECODER_PARAM_BOOL_SEI_CHECK_HASH, 1);
  if (threads_ == 1) return {};
  const de265_error error = de265_start_worker_threads(context_.get(), threads_);
  return error == DE265_OK ? Result<void>() : broken(error);
}

Result<void> De265Decoder::run(ByteSpan access_unit) {
  const de265_error pushed =
      de265_push_data(context_.get(), access_unit.data(), static_cast<int>(access_unit.size()), 0, nullptr);
  if (pushed != DE265_OK) return broken(pushed);
  de265_push_end_of_frame(context_.get());
  // Each round takes a unit at least. libde265 says that there is more for as long as a picture waits to be
  // taken.
  for (std::size_t rounds = 0; rounds < access_unit.size(); ++rounds) {
    int more = 0;
    const de265_error error = de265_decode(context_.get(), &more);
    if (error != DE265_OK && error != DE265_ERROR_WAITING_FOR_INPUT_DATA) return broken(error);
    if (error != DE265_OK || more == 0 || is_done()) break;
  }
  for (;;) {
    const de265_error warning = de265_get_warning(context_.get());
    if (warning == DE265_OK) return {};
    if (warning != DE265_WARNING_NO_WPP_CANNOT_USE_MULTITHREADING) return broken(warning);
  }
}

bool De265Decoder::is_done() const {
  return de265_get_number_of_NAL_units_pending(context_.get()) == 0 &&
         de265_peek_next_picture(context_.get()) != nullptr;
}

Result<Tensor> De265Decoder::take_picture() {
  const de265_image* const image = de265_get_next_picture(context_.get());
  if (image == nullptr) return Error{Errc::kBadFormat, "video: an access unit without a picture to show", ""};
  const auto width = static_cast<int>(kind_.width), height = static_cast<int>(kind_.height);
  if (de265_get_chroma_format(image) != chroma_of(kind_.format)) {
    return Error{Errc::kUnsupported, "video: another chroma format than agreed", ""};
  }
  Tensor picture = Tensor::empty(DType::kU8, kind_.shape());
  std::byte* to = picture.mutable_data();
  for (int p = 0; p < static_cast<int>(plane_count(kind_.format)); ++p) {
    int stride = 0;
    const std::uint8_t* from = de265_get_image_plane(image, p, &stride);
    if (from == nullptr || de265_get_image_width(image, p) != width ||
        de265_get_image_height(image, p) != height || de265_get_bits_per_pixel(image, p) != 8) {
      return Error{Errc::kUnsupported, "video: another size of pictures than agreed", ""};
    }
    for (int y = 0; y < height; ++y, from += stride, to += width) std::memcpy(to, from, kind_.width);
  }
  if (de265_peek_next_picture(context_.get()) != nullptr)
    return Error{Errc::kBadFormat, "video: more than one picture in an access unit", ""};
  return picture;
}

Result<Tensor> De265Decoder::decode(ByteSpan access_unit) {
  const bool whole = std::exchange(whole_, false);
  PINION_TRY(const AccessUnitInfo info, inspect_access_unit(access_unit, kind_));
  if (checksum_ && !info.checksum)
    return Error{Errc::kBadFormat, "video: a picture without its checksum", ""};
  if (!info.key && !whole)
    return Error{Errc::kNotFound, "video: a predicted picture without what it is predicted from", ""};
  if (!whole) PINION_TRY_VOID(restart());
  PINION_TRY_VOID(run(access_unit));
  PINION_TRY(Tensor picture, take_picture());
  whole_ = true;
  return picture;
}

}  // namespace

Result<std::unique_ptr<VideoDecoder>> open_de265_decoder(const DecoderSettings& settings) {
  PINION_TRY_VOID(settings.kind.check());
  if (settings.threads < 1) return Error{Errc::kInvalidArgument, "a decoder has at least one thread", ""};
  return std::unique_ptr<VideoDecoder>(std::make_unique<De265Decoder>(settings));
}

}  // namespace pinion::codec
