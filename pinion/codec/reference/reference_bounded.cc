// docs/format.md §9 (mode 3).

#include <bit>
#include <cmath>

#include "pinion/base/float_formats.h"
#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

float half_float(std::uint64_t upper) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(upper << 16));
}

// §9.2: p.
float prediction(float before, float step) {
  const float t = before / step;
  return std::fabs(t) <= 4194304.0f ? std::nearbyint(t) : 0.0f;
}

}  // namespace

Result<Tensor> decode_reference_bounded(const ReferenceHeader& header, ReferenceReader body,
                                        const Tensor* previous) {
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (elements == 0) return tensor;
  PINION_TRY(const std::uint64_t per_channel, body.number("kind of steps", 1, {0, 1}));
  const std::size_t count = per_channel == 1 ? header.channels : 1;
  std::vector<float> steps;
  for (std::size_t i = 0; i < count; ++i) {
    PINION_TRY(const std::uint64_t step, body.number("step", 2, {0x0080, 0x7f7f}));
    steps.push_back(half_float(step));
  }
  PINION_TRY(const std::uint64_t number_bytes, body.number("number_bytes", 1, {1, 2}));
  PINION_TRY(const std::uint64_t escapes, body.varint("escapes", {0, elements}));
  const std::size_t width = size_bytes(header.dtype);
  PINION_TRY(const ByteSpan escaped, body.bytes("escaped elements", escapes * width));
  PINION_TRY(
      const auto planes,
      read_reference_planes(
          body, {.planes = number_bytes, .elements = elements, .channels = header.channels, .contexts = {}}));
  std::size_t next_escape = 0;
  for (std::size_t i = 0; i < elements; ++i) {
    std::uint32_t u = 0;
    for (const auto& plane : planes) u = u * 256 + plane[i];
    std::byte* const out = tensor.mutable_data() + i * width;
    if (u == 0) {
      if (next_escape == escapes) return refused("more numbers are 0 than elements are escaped");
      for (std::size_t b = 0; b < width; ++b) out[b] = escaped[next_escape * width + b];
      ++next_escape;
      continue;
    }
    const std::uint32_t zigzag = u - 1;
    const auto r = static_cast<float>(zigzag % 2 == 0 ? static_cast<int>(zigzag / 2)
                                                      : -static_cast<int>(zigzag / 2) - 1);
    const float step = steps[per_channel == 1 ? i % header.channels : 0];
    const float p =
        previous == nullptr
            ? 0.0f
            : prediction(load_as_float(previous->view().data, header.dtype, static_cast<std::int64_t>(i)),
                         step);
    const float value = (p + r) * step;
    from_float(&value, 1, header.dtype, out);
  }
  if (next_escape != escapes) return refused("more elements are escaped than numbers are 0");
  return tensor;
}

}  // namespace pinion::codec
