#include <algorithm>
#include <mutex>

#include "pinion/base/float_formats.h"
#include "pinion/codec/bounded/bounded_codec.h"
#include "pinion/codec/bounded/bounded_loops.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kDecodedAtOnce = 1024;  // elements that are worked on at once

// The numbers of a chunk's elements `at` to `at + count`.
void join_numbers(const std::uint8_t* const* planes, std::size_t planes_count, std::size_t at,
                  std::size_t count, std::uint16_t* numbers) {
  const std::uint8_t* first = planes[0] + at;
  if (planes_count == 1) {
    for (std::size_t i = 0; i < count; ++i) numbers[i] = first[i];
    return;
  }
  const std::uint8_t* second = planes[1] + at;
  for (std::size_t i = 0; i < count; ++i) numbers[i] = static_cast<std::uint16_t>(first[i] << 8 | second[i]);
}

}  // namespace

Result<Tensor> BoundedDecoder::decode(const ParsedFrame& frame) {
  const FrameHeader& header = frame.header;
  if (header.shape.elements() == 0) return Tensor::empty(header.dtype, header.shape);
  PINION_TRY(const std::byte* const before, last_.elements_for(header));
  PINION_TRY(const BoundedBody body, parse_bounded(header, frame.body));
  const std::int64_t channels = channels_of(header.shape);
  const std::size_t width = size_bytes(header.dtype);
  const std::vector<float> steps = step_ring(body.steps, channels, kDecodedAtOnce);
  const auto tensor = std::make_shared<Tensor>(Tensor::empty(header.dtype, header.shape));
  std::byte* const out = tensor->mutable_data();
  const BoundedLoops& loops = bounded_loops();
  std::mutex mutex;
  std::vector<std::size_t> escaped;
  const auto take = [&](const PlaneDecoder::Chunk& chunk, const std::uint8_t* const* planes) {
    std::uint16_t numbers[kDecodedAtOnce];
    float values[kDecodedAtOnce], old[kDecodedAtOnce];
    for (std::size_t at = 0; at < chunk.count; at += kDecodedAtOnce) {
      const std::size_t count = std::min(kDecodedAtOnce, chunk.count - at), first = chunk.begin + at;
      const float* step = steps.data() + first % static_cast<std::size_t>(channels);
      join_numbers(planes, body.number_bytes, at, count, numbers);
      if (before != nullptr)
        to_float(before + first * width, header.dtype, static_cast<std::int64_t>(count), old);
      loops.restore(numbers, before == nullptr ? nullptr : old, step, count, values);
      from_float(values, static_cast<std::int64_t>(count), header.dtype, out + first * width);
      if (loops.least(numbers, count) != kEscape) continue;
      const std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < count; ++i) {
        if (numbers[i] == kEscape) escaped.push_back(first + i);
      }
    }
  };
  PINION_TRY_VOID(planes_.decode({.planes = body.number_bytes,
                                  .elements = tensor->elements(),
                                  .channels = channels,
                                  .has_contexts = false},
                                 body.planes, {.contexts = {}, .take = take}));
  if (escaped.size() * width != body.escapes.size())
    return Error{Errc::kBadFormat, "bounded frame: another number of escapes", ""};
  std::sort(escaped.begin(), escaped.end());
  for (std::size_t i = 0; i < escaped.size(); ++i)
    std::copy_n(body.escapes.data() + i * width, width, out + escaped[i] * width);
  return last_.keep(frame.checksum, tensor);
}

}  // namespace pinion::codec
