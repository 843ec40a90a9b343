#pragma once
// Video coding of pictures, one at a time and without delay: docs/planes.md §5. Implementations: HEVC in
// software (x265_video_codec.h); others, such as a GPU's fixed-function units, may follow behind this header.
//
// A VideoCodec may be used from several threads. An encoder or decoder is used by one thread at a time; it
// may outlive its codec. Threads that it starts end with it. Each stands for one video.

#include <memory>

#include "pinion/base/bytes.h"
#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/planes/picture_layout.h"

namespace pinion::codec {

enum class PictureFormat {
  kGrey,       // one plane, coded as 4:0:0
  kGreyIn420,  // one plane, coded as 4:2:0 with chroma that says nothing
  k444,        // three planes of one size
};

// Planes of a picture as the caller sees it: 1 or 3.
std::size_t plane_count(PictureFormat format);

struct PictureKind {
  std::size_t width = 0;  // both sides multiples of 8, from 32 to kMaxPictureSide; hardware may ask for more
  std::size_t height = 0;
  PictureFormat format = PictureFormat::kGrey;

  // [planes, height, width].
  Shape shape() const;

  // kInvalidArgument if a side is none of those above.
  Result<void> check() const;
};

enum class CodingEffort {
  kFast,      // as fast as the coder can
  kThorough,  // smaller, several times slower
};

struct EncoderSettings {
  PictureKind kind;
  bool lossless = false;
  int qp = 18;  // 0 to 51, the same in every picture; unused if lossless
  CodingEffort effort = CodingEffort::kFast;
  bool picture_checksum = true;  // kUnsupported where the coder cannot
  int threads = 1;               // at least 1; the bytes do not depend on it
};

struct DecoderSettings {
  PictureKind kind;              // agreed on before; the video is held to it
  bool picture_checksum = true;  // refuse pictures without one: with it no damage goes unnoticed
  int threads = 1;               // at least 1
};

struct EncodedPicture {
  Bytes access_unit;
  bool key = false;
};

class VideoEncoder {
 public:
  virtual ~VideoEncoder() = default;

  // The access unit of this picture, complete when the call returns. `picture`: uint8, of the kind's shape,
  // on a device that the codec takes; borrowed for the call. The first picture is a key picture in any case,
  // others if `key`. kInvalidArgument for another kind of picture (the encoder stays as it was); after
  // kInternal or kOutOfMemory it is of no use any more.
  virtual Result<EncodedPicture> encode(const TensorView& picture, bool key) = 0;
};

class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;

  // The picture of one access unit, uint8 of the kind's shape: bit for bit what the encoder predicts from,
  // and what it was given if lossless. Access units come in the order of the encoder's; `access_unit` is
  // borrowed for the call and may be anything. kBadFormat or kUnsupported: it is damaged or not of this
  // video's kind. kNotFound: a predicted picture where a key picture is needed, which is so at first and
  // after every error.
  virtual Result<Tensor> decode(ByteSpan access_unit) = 0;
};

class VideoCodec {
 public:
  virtual ~VideoCodec() = default;

  // kInvalidArgument for settings that cannot be, kUnsupported for what this coder cannot do.
  virtual Result<std::unique_ptr<VideoEncoder>> open_encoder(const EncoderSettings& settings) const = 0;

  virtual Result<std::unique_ptr<VideoDecoder>> open_decoder(const DecoderSettings& settings) const = 0;
};

}  // namespace pinion::codec
