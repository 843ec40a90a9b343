#include "pinion/codec/lossless/element_bits.h"
#include "pinion/codec/lossless/lossless_codec.h"

namespace pinion::codec {

Result<Tensor> LosslessDecoder::decode(const ParsedFrame& frame) {
  const FrameHeader& header = frame.header;
  if (header.shape.elements() == 0) return Tensor::empty(header.dtype, header.shape);
  PINION_TRY(const std::byte* const before, last_.elements_for(header));
  const auto tensor = std::make_shared<Tensor>(Tensor::empty(header.dtype, header.shape));
  const std::size_t width = size_bytes(header.dtype);
  std::byte* const out = tensor->mutable_data();
  const auto of = [&](const std::byte* elements, std::size_t at) {
    return elements == nullptr ? nullptr : elements + at * width;
  };
  const PlaneDecoder::Hooks hooks{
      .contexts =
          [&](const PlaneDecoder::Chunk& chunk, std::uint8_t* to) {
            context_bytes(of(before, chunk.begin), header.dtype, chunk.count, to);
          },
      .take =
          [&](const PlaneDecoder::Chunk& chunk, const std::uint8_t* const* planes) {
            join_elements(planes, of(before, chunk.begin), header.dtype, chunk.count,
                          out + chunk.begin * width);
          }};
  PINION_TRY_VOID(planes_.decode({.planes = width,
                                  .elements = tensor->elements(),
                                  .channels = channels_of(header.shape),
                                  .has_contexts = before != nullptr},
                                 frame.body, hooks));
  return last_.keep(frame.checksum, tensor);
}

}  // namespace pinion::codec
