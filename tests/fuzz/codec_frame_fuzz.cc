// Everything of the codec that reads bytes from outside: frames (alone, with a basis, with an earlier frame),
// bases and .pnf files. The first byte tells which ('f', 'b', 'c'; any other: a frame as it is, checksum and
// all). Checksums and references are made right first, so that changes reach the parsers behind them. Errors
// are fine; what must not happen is a fault, or a tensor that the receiver did not allow.
//
// Seeds come from tests/golden/golden_frames_test.cc.

#include <cstdint>
#include <cstring>

#include "pinion/base/assert.h"
#include "pinion/base/crc32c.h"
#include "pinion/codec/basis.h"
#include "pinion/codec/container.h"
#include "pinion/codec/frame_format.h"
#include "tests/golden/golden_streams.h"

namespace {

using pinion::Bytes;
using pinion::ByteSpan;
using pinion::codec::DecodeLimits;
using pinion::codec::Decoder;

constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};

// Frames that decode, for others to refer to: `key` without and with a basis.
struct Known {
  Bytes plain_key;
  Bytes basis;
  Bytes basis_key;

  Known() {
    using pinion::codec::testing::fidelity_stream;
    plain_key = fidelity_stream(pinion::DType::kBF16, false).frames.front().frame;
    const auto with_basis = fidelity_stream(pinion::DType::kBF16, true).frames.front();
    basis = with_basis.basis;
    basis_key = with_basis.frame;
    PINION_ASSERT(!basis.empty());
  }
};

const Known& known() {
  static const Known once;
  return once;
}

Bytes with_right_checksum(ByteSpan bytes) {
  Bytes fixed(bytes.begin(), bytes.end());
  if (fixed.size() < pinion::codec::kChecksumBytes) return fixed;
  const std::size_t content = fixed.size() - pinion::codec::kChecksumBytes;
  const std::uint32_t checksum = pinion::crc32c(ByteSpan(fixed).first(content));
  std::memcpy(fixed.data() + content, &checksum, sizeof(checksum));
  return fixed;
}

void decode(Decoder& decoder, ByteSpan frame) {
  const auto info = pinion::codec::inspect(frame, kLimits);
  const auto decoded = decoder.decode(frame, kLimits);
  if (!decoded.ok()) return;
  PINION_ASSERT(info.ok());
  PINION_ASSERT(decoded->dtype() == info->dtype && decoded->shape() == info->shape);
  PINION_ASSERT(decoded->bytes() <= kLimits.max_tensor_bytes);
}

// What the frame refers to is replaced by what is known here.
void decode_in_stream(ByteSpan bytes) {
  const Bytes fixed = with_right_checksum(bytes);
  const auto parsed = pinion::codec::parse_frame(fixed, kLimits);
  const auto decoder = Decoder::create();
  if (!parsed.ok()) return decode(*decoder, fixed);
  pinion::codec::FrameHeader header = parsed->header;
  const Bytes& key = header.basis ? known().basis_key : known().plain_key;
  if (header.basis) {
    decoder->add_basis(known().basis).value();
    header.basis = pinion::codec::basis_id(known().basis);
  }
  if (header.previous) {
    static_cast<void>(decoder->decode(key, kLimits).value());
    header.previous = pinion::codec::parse_frame(key, kLimits)->checksum;
  }
  const Bytes frame = pinion::codec::write_frame(header, parsed->body);
  decode(*decoder, frame);
  decode(*decoder, frame);  // on top of what it left behind
}

void use_basis(ByteSpan bytes) {
  const Bytes basis = with_right_checksum(bytes);
  const auto decoder = Decoder::create();
  if (!decoder->add_basis(basis).ok()) return;
  const auto parsed = pinion::codec::parse_frame(known().basis_key, kLimits);
  pinion::codec::FrameHeader header = parsed->header;
  header.basis = pinion::codec::basis_id(basis);
  decode(*decoder, pinion::codec::write_frame(header, parsed->body));
}

void read_file(ByteSpan bytes) {
  const Bytes file = with_right_checksum(bytes);
  const auto container = pinion::codec::parse_container(file);
  if (!container.ok()) return;
  const auto decoder = Decoder::create();
  for (const ByteSpan basis : container->bases) static_cast<void>(decoder->add_basis(basis).ok());
  for (const auto& frame : container->frames) decode(*decoder, with_right_checksum(frame.frame));
  const auto again = pinion::codec::parse_container(pinion::codec::write_container(container.value()));
  PINION_ASSERT(again.ok() && again->frames.size() == container->frames.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'f':
      decode_in_stream(bytes);
      break;
    case 'b':
      use_basis(bytes);
      break;
    case 'c':
      read_file(bytes);
      break;
    default:
      decode(*Decoder::create(), bytes);
  }
  return 0;
}
