#include <algorithm>
#include <array>
#include <cstring>

#include "pinion/codec/lossless/element_bits.h"
#include "pinion/codec/lossless/lossless_codec.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kMaxWidth = 4;
constexpr std::size_t kBlock = 256;     // elements of a sample that lie together
constexpr std::size_t kBlocks = 32;     // of a sample
constexpr std::size_t kPart = 1 << 16;  // elements that one thread splits in one go

// About what a sample of the elements takes under one table a plane.
double sampled_bits(const TensorView& tensor, const std::byte* previous) {
  const auto count = static_cast<std::size_t>(tensor.elements());
  const std::size_t width = size_bytes(tensor.dtype);
  std::array<std::array<std::uint8_t, kBlock>, kMaxWidth> bytes;
  std::array<std::array<std::uint32_t, kMaxAlphabet>, kMaxWidth> counts{};
  std::array<std::uint8_t*, kMaxWidth> planes;
  for (std::size_t p = 0; p < kMaxWidth; ++p) planes[p] = bytes[p].data();
  const std::size_t blocks = (count - 1) / kBlock + 1;
  for (std::size_t b = 0; b < blocks; b += (blocks - 1) / kBlocks + 1) {
    const std::size_t begin = b * kBlock, n = std::min(kBlock, count - begin);
    split_elements(tensor.data + begin * width, previous == nullptr ? nullptr : previous + begin * width,
                   tensor.dtype, n, planes.data());
    for (std::size_t p = 0; p < width; ++p) {
      for (std::size_t i = 0; i < n; ++i) ++counts[p][bytes[p][i]];
    }
  }
  double bits = 0;
  for (std::size_t p = 0; p < width; ++p) bits += entropy_bits(counts[p]);
  return bits;
}

}  // namespace

bool LosslessEncoder::should_predict(const TensorView& tensor) const {
  if (!previous_ || !same_matrix(last_, tensor.dtype, tensor.shape)) return false;
  return sampled_bits(tensor, last_.view().data) < sampled_bits(tensor, nullptr);
}

LosslessEncoder::Frame LosslessEncoder::encode(const TensorView& tensor) {
  const auto elements = static_cast<std::size_t>(tensor.elements());
  FrameHeader header{Mode::kLossless, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
  if (elements == 0) return {write_frame(header, {}), true};

  const std::size_t width = size_bytes(tensor.dtype);
  const bool predicted = should_predict(tensor);
  const std::byte* const before = predicted ? last_.view().data : nullptr;
  if (predicted) header.previous = previous_;
  split_.resize(std::max(split_.size(), width * elements));
  if (predicted) contexts_.resize(std::max(contexts_.size(), elements));
  if (predicts_ && !same_matrix(last_, tensor.dtype, tensor.shape))
    last_ = Tensor::empty(tensor.dtype, tensor.shape);
  std::byte* const last = predicts_ ? last_.mutable_data() : nullptr;
  pool_.run((elements - 1) / kPart + 1, [&](std::size_t part, std::size_t) {
    const std::size_t begin = part * kPart, count = std::min(kPart, elements - begin);
    std::array<std::uint8_t*, kMaxWidth> planes{};
    for (std::size_t p = 0; p < width; ++p) planes[p] = split_.data() + p * elements + begin;
    split_elements(tensor.data + begin * width, predicted ? before + begin * width : nullptr, tensor.dtype,
                   count, planes.data());
    if (predicted) context_bytes(before + begin * width, tensor.dtype, count, contexts_.data() + begin);
    // Nobody needs this part of the last tensor any more.
    if (predicts_) std::memcpy(last + begin * width, tensor.data + begin * width, count * width);
  });
  PlanesInput input{.planes = {},
                    .elements = elements,
                    .channels = static_cast<std::size_t>(channels_of(tensor.shape)),
                    .contexts = predicted ? contexts_.data() : nullptr};
  for (std::size_t p = 0; p < width; ++p) input.planes.push_back(split_.data() + p * elements);
  const std::vector<ByteSpan> parts = planes_.encode(input);
  std::size_t body_bytes = 0;
  for (const ByteSpan part : parts) body_bytes += part.size();
  if (body_bytes >= tensor.bytes()) {
    header.mode = Mode::kRaw;
    header.previous.reset();
    previous_.reset();  // last_ is of no frame of mode 1
    return {write_frame(header, tensor.span()), true};
  }
  Frame frame{write_frame_of_parts(header, parts), !predicted};
  if (predicts_) previous_ = frame_checksum(frame.bytes);
  return frame;
}

}  // namespace pinion::codec
