#include "pinion/codec/bounded/bounded_format.h"

#include <algorithm>

#include "pinion/codec/entropy/bit_stream.h"

namespace pinion::codec {
namespace {

Error broken(std::string_view what) {
  return Error{Errc::kBadFormat, "bounded frame: " + std::string(what), ""};
}

}  // namespace

void write_bounded_head(ByteWriter& out, const BoundedBody& body, std::size_t element_bytes) {
  out.write(static_cast<std::uint8_t>(body.steps.size() > 1));
  for (const std::uint16_t step : body.steps) out.write(step);
  out.write(static_cast<std::uint8_t>(body.number_bytes));
  write_varint(out, body.escapes.size() / element_bytes);
}

Result<BoundedBody> parse_bounded(const FrameHeader& header, ByteSpan bytes) {
  ByteReader in(bytes);
  BoundedBody body;
  const auto per_channel = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("bounded frame"));
  if (per_channel > 1) return broken("impossible kind of steps");
  const std::uint64_t steps = per_channel ? static_cast<std::uint64_t>(channels_of(header.shape)) : 1;
  if (steps > in.remaining() / sizeof(std::uint16_t))
    return Error{Errc::kNeedMoreBytes, "bounded frame: the steps are cut short", ""};
  for (std::uint64_t i = 0; i < steps; ++i) {
    body.steps.push_back(in.read<std::uint16_t>());
    if (body.steps.back() < kLeastStep || body.steps.back() > kLargestStep) return broken("impossible step");
  }
  body.number_bytes = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("bounded frame"));
  if (body.number_bytes != 1 && body.number_bytes != 2) return broken("impossible size of numbers");
  PINION_TRY(const std::uint64_t escapes, read_varint(in, "bounded frame"));
  if (escapes > static_cast<std::uint64_t>(header.shape.elements())) return broken("too many escapes");
  body.escapes = in.take(escapes * size_bytes(header.dtype));
  PINION_TRY_VOID(in.check("bounded frame"));
  body.planes = in.take(in.remaining());
  return body;
}

std::vector<float> step_ring(const std::vector<std::uint16_t>& steps, std::int64_t channels,
                             std::size_t more) {
  std::vector<float> ring(static_cast<std::size_t>(channels) + more);
  for (std::size_t i = 0, at = 0; i < ring.size(); ++i, at = at + 1 == steps.size() ? 0 : at + 1)
    ring[i] = std::bit_cast<float>(std::uint32_t{steps[at]} << 16);
  return ring;
}

}  // namespace pinion::codec
