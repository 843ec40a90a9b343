// docs/format.md §10 and §11 (modes 4 and 5).

#include <algorithm>
#include <bit>
#include <limits>

#include "pinion/base/float_formats.h"
#include "pinion/codec/reference/reference_parts.h"

namespace pinion::codec {
namespace {

float largest_of_type(DType dtype) {
  if (dtype == DType::kF16) return 65504.0f;
  return dtype == DType::kBF16 ? bf16_to_float(0x7f7f) : std::numeric_limits<float>::max();
}

}  // namespace

Result<Tensor> decode_reference_groups(const ReferenceHeader& header, ReferenceReader body) {
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (elements == 0) return tensor;
  const std::size_t groups = (header.channels + 31) / 32;
  const std::size_t integer_bytes = header.mode == 4 ? elements : (elements + 1) / 2;
  if (body.remaining() != header.rows * groups * 2 + integer_bytes) return refused("groups of another size");
  std::vector<float> scales;
  for (std::size_t i = 0; i < header.rows * groups; ++i) {
    PINION_TRY(const std::uint64_t scale, body.number("scale", 2, {0, 0x7f7f}));
    scales.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(scale << 16)));
  }
  const int bits = header.mode == 4 ? 8 : 4;
  const float limit = largest_of_type(header.dtype);
  const std::size_t width = size_bytes(header.dtype);
  for (std::size_t i = 0; i < elements; ++i) {
    PINION_TRY(const std::uint64_t number, body.bits("integer", bits));
    const int integer = static_cast<int>(number) - (number >> (bits - 1) << bits);
    const std::size_t row = i / header.channels, channel = i % header.channels;
    const float value =
        std::clamp(static_cast<float>(integer) * scales[row * groups + channel / 32], -limit, limit);
    from_float(&value, 1, header.dtype, tensor.mutable_data() + i * width);
  }
  PINION_TRY_VOID(body.end_of_bits());
  PINION_TRY_VOID(body.end("the integers"));
  return tensor;
}

}  // namespace pinion::codec
