#include "pinion/codec/mapped/latent_map.h"

#include <algorithm>

#include "pinion/base/float_formats.h"
#include "pinion/codec/fidelity/reconstruct.h"

namespace pinion::codec {

Matrix map_latents(std::span<const float> latents, const Matrix& map) {
  PINION_ASSERT(latents.size() % map.rows == 0);
  Matrix known(latents.size() / map.rows, map.rows);
  std::ranges::copy(latents, known.values.begin());
  return multiply_transposed(transpose(known), map);
}

Bytes write_mapped_frame(DType dtype, const Shape& shape, const BasisId& map, ByteSpan inner) {
  return write_frame({Mode::kMapped, dtype, shape, map, std::nullopt}, inner);
}

Result<ParsedFrame> parse_inner_frame(const ParsedFrame& mapped) {
  const Shape& shape = mapped.header.shape;
  const auto elements = static_cast<std::size_t>(shape.elements());
  const Result<ParsedFrame> inner =
      parse_frame(mapped.body, {.max_tensor_bytes = elements * sizeof(float),
                                .max_channels = static_cast<std::size_t>(channels_of(shape))});
  // To the caller it is a body that is broken, whatever is wrong with it as a frame.
  const auto broken = [](const std::string& what) {
    return Error{Errc::kBadFormat, "coded frame of mode mapped holds " + what, ""};
  };
  if (!inner.ok()) return broken("no whole frame: " + inner.error().text);
  if (inner->header.mode != Mode::kFidelity || inner->header.dtype != DType::kF32 ||
      inner->header.shape != shape) {
    return broken("a frame of another kind");
  }
  if (const auto intact = verify_checksum(mapped.body); !intact.ok()) return broken(intact.error().text);
  return inner;
}

Result<void> check_mapped(const FrameHeader& header, const Matrix& map, std::span<const float> latents) {
  const auto rows = static_cast<std::size_t>(rows_of(header.shape));
  const auto channels = static_cast<std::size_t>(channels_of(header.shape));
  if (map.columns != channels) {
    return Error{
        Errc::kBadFormat,
        "coded frame has " + std::to_string(channels) + " channels, its map " + std::to_string(map.columns),
        ""};
  }
  if (latents.size() == rows * map.rows) return {};
  return Error{Errc::kInvalidArgument,
               "a coded frame of " + std::to_string(rows) + " rows with " + std::to_string(map.rows) +
                   " latents each was given " + std::to_string(latents.size()) + " latent values",
               ""};
}

Tensor join_mapped(const FrameHeader& header, Matrix mapped, const Tensor& inner) {
  const std::vector<float> rest = floats_of(inner);
  PINION_ASSERT(rest.size() == mapped.values.size());
  for (std::size_t i = 0; i < rest.size(); ++i) mapped.values[i] += rest[i];
  Tensor tensor = Tensor::empty(header.dtype, header.shape);
  write_bounded(mapped.values, header.dtype, tensor.mutable_data());
  return tensor;
}

}  // namespace pinion::codec
