#include <algorithm>
#include <cmath>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/bounded/bounded_arithmetic.h"
#include "pinion/codec/bounded/bounded_codec.h"
#include "pinion/codec/math/fast_log.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kBlock = 1024;    // elements that are worked on at once
constexpr std::size_t kPart = 1 << 16;  // that one thread works on in one go; a multiple of kBlock
constexpr std::size_t kSampledBlocks = 8;
constexpr std::size_t kFewEscapes = 512;  // one in so many is no reason for numbers of two bytes

// Calls each(begin, count) for `count` things in parts over the pool's threads.
template <class Each>
void in_parts(ChunkPool& pool, std::size_t count, Each each) {
  pool.run((count - 1) / kPart + 1,
           [&](std::size_t part, std::size_t) { each(part * kPart, std::min(kPart, count - part * kPart)); });
}

}  // namespace

void BoundedEncoder::choose_steps(const TensorView& tensor, BoundedBody& body) {
  const auto channels = static_cast<std::size_t>(channels_of(tensor.shape));
  const std::size_t rows = static_cast<std::size_t>(tensor.elements()) / channels;
  std::vector<double> bounds(bound_.relative ? channels : 1, bound_.size);
  if (bound_.relative) {
    std::vector<double> squares(channels);
    std::vector<std::size_t> finite(channels);
    for (std::size_t r = 0; r < rows; ++r) {
      const float* row = values_.data() + r * channels;
      for (std::size_t c = 0; c < channels; ++c) {
        const bool is_finite = std::fabs(row[c]) <= std::numeric_limits<float>::max();
        const double value = is_finite ? row[c] : 0.0f;
        squares[c] += value * value;
        finite[c] += is_finite;
      }
    }
    for (std::size_t c = 0; c < channels; ++c)
      bounds[c] *= std::sqrt(squares[c] / static_cast<double>(std::max<std::size_t>(finite[c], 1)));
  }
  body.steps.clear();
  for (const double bound : bounds) body.steps.push_back(step_within(bound));
  steps_ = step_ring(body.steps, static_cast<std::int64_t>(channels), kBlock);
  inverse_steps_.resize(steps_.size());
  std::transform(steps_.begin(), steps_.end(), inverse_steps_.begin(), [](float step) { return 1 / step; });
  bounds_.resize(steps_.size());
  for (std::size_t i = 0, at = 0; i < bounds_.size(); ++i, at = at + 1 == bounds.size() ? 0 : at + 1)
    bounds_[i] = float_not_above(bounds[at]);
}

BoundedSteps BoundedEncoder::steps_at(const TensorView& tensor, std::size_t element) const {
  const std::size_t channel = element % static_cast<std::size_t>(channels_of(tensor.shape));
  return {steps_.data() + channel, inverse_steps_.data() + channel, bounds_.data() + channel};
}

bool BoundedEncoder::should_predict(const TensorView& tensor) {
  if (!predicts_ || !previous_ || !same_matrix(decoded_, tensor.dtype, tensor.shape)) return false;
  const auto elements = static_cast<std::size_t>(tensor.elements());
  const std::size_t blocks = (elements - 1) / kBlock + 1;
  std::vector<float> old(kBlock);
  double alone = 0, predicted = 0;  // bits, about
  for (std::size_t b = 0; b < blocks; b += (blocks - 1) / kSampledBlocks + 1) {
    const std::size_t begin = b * kBlock, count = std::min(kBlock, elements - begin);
    to_float(decoded_.view().data + begin * size_bytes(tensor.dtype), tensor.dtype,
             static_cast<std::int64_t>(count), old.data());
    const BoundedSteps with = steps_at(tensor, begin);
    for (std::size_t i = 0; i < count; ++i) {
      const float value = values_[begin + i] * with.inverse_steps[i];
      const float change = value - old[i] * with.inverse_steps[i];
      if (!std::isfinite(value) || !std::isfinite(change)) continue;
      alone += fast_log2(1 + std::fabs(value));
      predicted += fast_log2(1 + std::fabs(change));
    }
  }
  return predicted < alone;
}

void BoundedEncoder::quantise(const TensorView& tensor, bool predicted, std::size_t begin,
                              std::size_t count) {
  const std::size_t width = size_bytes(tensor.dtype);
  const BoundedSteps with = steps_at(tensor, begin);
  const BoundedLoops& loops = bounded_loops();
  std::byte* const out = decoded_.mutable_data() + begin * width;
  const float* const values = values_.data() + begin;
  float indices[kBlock], decoded[kBlock], before[kBlock];
  if (predicted) to_float(out, tensor.dtype, static_cast<std::int64_t>(count), before);
  loops.round(values, with, count, indices, decoded);
  from_float(decoded, static_cast<std::int64_t>(count), tensor.dtype, out);
  to_float(out, tensor.dtype, static_cast<std::int64_t>(count), decoded);
  loops.number(values, decoded, indices, predicted ? before : nullptr, with, count, numbers_.data() + begin);
}

// Numbers as planes. What one byte does not hold is escaped from here on.
void BoundedEncoder::split(std::size_t number_bytes, std::size_t elements, std::size_t begin,
                           std::size_t count) {
  std::uint16_t* const numbers = numbers_.data() + begin;
  std::uint8_t* const first = split_.data() + begin;
  if (number_bytes == 1) {
    for (std::size_t i = 0; i < count; ++i) {
      numbers[i] = numbers[i] > 0xff ? std::uint16_t{kEscape} : numbers[i];
      first[i] = static_cast<std::uint8_t>(numbers[i]);
    }
    return;
  }
  std::uint8_t* const second = first + elements;
  for (std::size_t i = 0; i < count; ++i) {
    first[i] = static_cast<std::uint8_t>(numbers[i] >> 8);
    second[i] = static_cast<std::uint8_t>(numbers[i]);
  }
}

void BoundedEncoder::escape(const TensorView& tensor, std::size_t begin, std::size_t count) {
  const std::uint16_t* const numbers = numbers_.data() + begin;
  if (bounded_loops().least(numbers, count) != kEscape) return;
  const std::size_t width = size_bytes(tensor.dtype);
  for (std::size_t i = 0; i < count; ++i) {
    if (numbers[i] != kEscape) continue;
    const std::byte* const element = tensor.data + (begin + i) * width;
    escapes_.insert(escapes_.end(), element, element + width);
    std::copy_n(element, width, decoded_.mutable_data() + (begin + i) * width);
  }
}

BoundedEncoder::Frame BoundedEncoder::encode(const TensorView& tensor) {
  const auto elements = static_cast<std::size_t>(tensor.elements());
  const std::size_t width = size_bytes(tensor.dtype);
  values_.resize(std::max(values_.size(), elements));
  in_parts(pool_, elements, [&](std::size_t begin, std::size_t count) {
    to_float(tensor.data + begin * width, tensor.dtype, static_cast<std::int64_t>(count),
             values_.data() + begin);
  });
  BoundedBody body;
  choose_steps(tensor, body);
  FrameHeader header{Mode::kBounded, tensor.dtype, tensor.shape, std::nullopt, std::nullopt};
  if (should_predict(tensor)) header.previous = previous_;
  if (!same_matrix(decoded_, tensor.dtype, tensor.shape))
    decoded_ = Tensor::empty(tensor.dtype, tensor.shape);
  numbers_.resize(std::max(numbers_.size(), elements));
  in_parts(pool_, elements, [&](std::size_t begin, std::size_t count) {
    for (std::size_t at = 0; at < count; at += kBlock) {
      quantise(tensor, header.previous.has_value(), begin + at, std::min(kBlock, count - at));
    }
  });

  const auto large = static_cast<std::size_t>(
      std::count_if(numbers_.begin(), numbers_.begin() + static_cast<std::ptrdiff_t>(elements),
                    [](auto n) { return n > 0xff; }));
  body.number_bytes = large <= elements / kFewEscapes ? 1 : 2;
  split_.resize(std::max(split_.size(), body.number_bytes * elements));
  escapes_.clear();
  PlanesInput input{
      .planes = {}, .elements = elements, .channels = static_cast<std::size_t>(channels_of(tensor.shape))};
  for (std::size_t p = 0; p < body.number_bytes; ++p) input.planes.push_back(split_.data() + p * elements);
  in_parts(pool_, elements,
           [&](std::size_t begin, std::size_t count) { split(body.number_bytes, elements, begin, count); });
  for (std::size_t begin = 0; begin < elements; begin += kBlock)
    escape(tensor, begin, std::min(kBlock, elements - begin));
  body.escapes = escapes_;
  ByteWriter head;
  write_bounded_head(head, body, width);
  head_ = std::move(head).take();
  std::vector<ByteSpan> parts = planes_.encode(input);
  parts.insert(parts.begin(), {ByteSpan(head_), ByteSpan(escapes_)});
  Frame frame{write_frame_of_parts(header, parts), !header.previous};
  previous_ = frame_checksum(frame.bytes);
  return frame;
}

}  // namespace pinion::codec
