#pragma once
// Frames of modes 3, 4 and 5 that follow docs/format.md but that no encoder here would choose. For tests.
// Pure functions but for the dice.

#include "pinion/codec/bounded/bounded_format.h"
#include "pinion/codec/groups/group_codec.h"
#include "pinion/codec/groups/group_loops.h"
#include "pinion/codec/lossless/plane_encoder.h"
#include "pinion/codec/reference/random_planes.h"

namespace pinion::codec::testing {

// Mostly of ordinary size, now and then from all over the range.
inline std::uint16_t any_half_float(Dice& dice, std::uint16_t least) {
  const std::size_t range = below(dice, 4) ? 0x400 : 0x7f80u - least;
  return static_cast<std::uint16_t>((range == 0x400 ? 0x3e00 : least) + below(dice, range));
}

// Predicts from the frame of that checksum, of the same type and shape, where there is one.
inline Bytes any_bounded_frame(Dice& dice, DType dtype, const Shape& shape,
                               std::optional<std::uint32_t> previous) {
  const auto elements = static_cast<std::size_t>(shape.elements());
  BoundedBody body;
  const bool per_channel = below(dice, 2) != 0 && channels_of(shape) > 1;
  for (std::int64_t i = 0; i < (per_channel ? channels_of(shape) : 1); ++i)
    body.steps.push_back(any_half_float(dice, kLeastStep));
  body.number_bytes = 1 + below(dice, 2);
  Bytes escapes;
  std::vector<std::vector<std::uint8_t>> planes(body.number_bytes, std::vector<std::uint8_t>(elements));
  const std::size_t most = std::size_t{1} << below(dice, 8 * body.number_bytes + 1);
  for (std::size_t i = 0; i < elements; ++i) {
    const std::size_t number = below(dice, most);
    for (std::size_t p = 0; p < planes.size(); ++p)
      planes[p][i] = static_cast<std::uint8_t>(number >> (8 * (planes.size() - 1 - p)));
    for (std::size_t b = 0; b < size_bytes(dtype) && number == kEscape; ++b)
      escapes.push_back(static_cast<std::byte>(dice.bits() & 0xff));
  }
  body.escapes = escapes;
  ByteWriter out;
  write_bounded_head(out, body, size_bytes(dtype));
  out.write_bytes(escapes);
  PlanesInput input{
      .planes = {}, .elements = elements, .channels = static_cast<std::size_t>(channels_of(shape))};
  for (const auto& plane : planes) input.planes.push_back(plane.data());
  ChunkPool pool;
  PlaneEncoder encoder(pool);
  for (const ByteSpan part : encoder.encode(input)) out.write_bytes(part);
  return write_frame({Mode::kBounded, dtype, shape, std::nullopt, previous}, out.view());
}

inline Bytes any_frame_of_groups(Dice& dice, Mode mode, DType dtype, const Shape& shape) {
  ByteWriter out;
  const auto channels = static_cast<std::size_t>(channels_of(shape));
  const std::size_t groups =
      static_cast<std::size_t>(rows_of(shape)) * ((channels + kGroupElements - 1) / kGroupElements);
  for (std::size_t i = 0; i < groups; ++i) out.write(any_half_float(dice, 0));
  while (out.size() < group_body_bytes(mode, shape)) out.write(byte_below(dice, 256));
  Bytes body = std::move(out).take();
  if (mode == Mode::kInt4 && shape.elements() % 2 != 0) body.back() &= std::byte{0xf};
  return write_frame({mode, dtype, shape, std::nullopt, std::nullopt}, body);
}

}  // namespace pinion::codec::testing
