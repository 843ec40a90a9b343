// Everything of the codec that reads bytes from outside: frames (alone, with a basis, with an earlier frame),
// bases, .pnf files, and frames about a map. The first byte tells which ('f', 'b', 'c', 'm'; any other: a
// frame as it is, checksum and all). Checksums and references are made right first, so that changes reach the
// parsers behind them. Errors are fine; what must not happen is a fault, a tensor that the receiver did not
// allow, or that the decoder and the reference decoder differ.
//
// Seeds come from tests/golden/golden_frames_test.cc and golden_mapped_test.cc.

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "pinion/base/assert.h"
#include "pinion/base/crc32c.h"
#include "pinion/codec/container.h"
#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/fidelity/basis.h"
#include "pinion/codec/frame_format.h"
#include "pinion/codec/mapped/latent_map.h"
#include "pinion/codec/reference/twin_decoders.h"
#include "tests/golden/golden_streams.h"

namespace {

using pinion::Bytes;
using pinion::ByteSpan;
using pinion::codec::BasisLimits;
using pinion::codec::DecodeLimits;
using pinion::codec::testing::TwinDecoders;

// Decoding a basis twice over, once plainly, is slow where few bytes may claim many coefficients.
constexpr BasisLimits kBasisLimits = {.max_channels = 1 << 18, .max_coefficients = 1 << 20};
constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};

// Frames that decode, for others to refer to: `key` without and with a basis.
struct Known {
  Bytes plain_key;
  Bytes basis;
  Bytes basis_key;
  Bytes mapped_key;  // to lie within a frame of mode 7

  Known() {
    using pinion::codec::testing::fidelity_stream;
    mapped_key = fidelity_stream(pinion::DType::kF32, false).frames.front().frame;
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

// A key frame of mode 1 or 3, of the same type and shape as the frame that predicts from it, with raw planes.
Bytes plain_key_of(const pinion::codec::FrameHeader& header) {
  const auto elements = static_cast<std::size_t>(header.shape.elements());
  const bool is_bounded = header.mode == pinion::codec::Mode::kBounded;
  pinion::ByteWriter body;
  if (is_bounded) {
    body.write(std::uint8_t{0});           // one step,
    body.write(std::uint16_t{0x3e80});     // .25
    body.write(std::uint8_t{1});           // numbers of one byte
    pinion::codec::write_varint(body, 0);  // escapes
  }
  const std::size_t planes = is_bounded ? 1 : pinion::size_bytes(header.dtype);
  body.write(std::uint8_t{0});                                           // lanes_log2
  pinion::codec::write_varint(body, 1);                                  // chunk_elements
  for (std::size_t p = 0; p < planes; ++p) body.write(std::uint8_t{0});  // raw
  for (std::size_t i = 0; i < planes * elements; ++i) body.write(static_cast<std::uint8_t>(1 + i * 37 % 255));
  pinion::codec::FrameHeader key = header;
  key.previous.reset();
  return pinion::codec::write_frame(key, body.view());
}

Bytes with_right_checksum(ByteSpan bytes) {
  Bytes fixed(bytes.begin(), bytes.end());
  if (fixed.size() < pinion::codec::kChecksumBytes) return fixed;
  const std::size_t content = fixed.size() - pinion::codec::kChecksumBytes;
  const std::uint32_t checksum = pinion::crc32c(ByteSpan(fixed).first(content));
  std::memcpy(fixed.data() + content, &checksum, sizeof(checksum));
  return fixed;
}

void expect_agreement(const std::string& difference) {
  if (difference.empty()) return;
  std::fprintf(stderr, "%s\n", difference.c_str());
  std::abort();
}

void decode(TwinDecoders& twins, ByteSpan frame) {
  const auto info = pinion::codec::inspect(frame, kLimits);
  expect_agreement(twins.decode(frame, kLimits));
  if (!twins.accepted()) return;
  PINION_ASSERT(info.ok());
  PINION_ASSERT(twins.tensor().dtype() == info->dtype && twins.tensor().shape() == info->shape);
  PINION_ASSERT(twins.tensor().bytes() <= kLimits.max_tensor_bytes);
}

// What the frame refers to is replaced by what is known here.
void decode_in_stream(ByteSpan bytes) {
  const Bytes fixed = with_right_checksum(bytes);
  const auto parsed = pinion::codec::parse_frame(fixed, kLimits);
  TwinDecoders twins;
  if (!parsed.ok()) return decode(twins, fixed);
  pinion::codec::FrameHeader header = parsed->header;
  const bool of_planes =
      header.mode == pinion::codec::Mode::kLossless || header.mode == pinion::codec::Mode::kBounded;
  const Bytes key = of_planes ? plain_key_of(header) : header.basis ? known().basis_key : known().plain_key;
  if (header.basis) {
    expect_agreement(twins.add_basis(known().basis, kBasisLimits));
    header.basis = pinion::codec::basis_id(known().basis);
  }
  if (header.previous) {
    decode(twins, key);
    PINION_ASSERT(twins.accepted());
    header.previous = pinion::codec::parse_frame(key, kLimits)->checksum;
  }
  const Bytes frame = pinion::codec::write_frame(header, parsed->body);
  decode(twins, frame);
  decode(twins, frame);  // on top of what it left behind
}

// A frame of mode 7, about a map that is known here, with latents for its rows.
void decode_about_map(ByteSpan bytes) {
  const Bytes fixed = with_right_checksum(bytes);
  const auto parsed = pinion::codec::parse_frame(fixed, kLimits);
  if (!parsed.ok() || parsed->header.mode != pinion::codec::Mode::kMapped) return;
  const pinion::codec::FrameHeader& header = parsed->header;
  const auto map = pinion::codec::decode_basis(known().basis, kBasisLimits).value();
  const auto decoder = pinion::codec::Decoder::create();
  decoder->add_basis(known().basis, kBasisLimits).value();
  const auto decode = [&](const pinion::Shape& shape, ByteSpan inner) {
    const Bytes frame = pinion::codec::write_mapped_frame(header.dtype, shape, map->id, inner);
    const auto rows = static_cast<std::size_t>(pinion::codec::rows_of(shape));
    std::vector<float> latents(rows * map->rows.rows);
    for (std::size_t i = 0; i < latents.size(); ++i) latents[i] = static_cast<float>(i % 7) - 3;
    const auto tensor = decoder->decode(frame, latents, kLimits);
    PINION_ASSERT(!tensor.ok() || (tensor->dtype() == header.dtype && tensor->shape() == shape));
    return tensor.ok();
  };
  const Bytes& key = known().mapped_key;
  const auto key_frame = pinion::codec::parse_frame(key, kLimits).value();
  PINION_ASSERT(decode(key_frame.header.shape, key));
  Bytes inner = with_right_checksum(parsed->body);
  if (const auto within = pinion::codec::parse_frame(inner, kLimits); within.ok()) {
    pinion::codec::FrameHeader named = within->header;
    if (named.basis) named.basis = map->id;
    if (named.previous) named.previous = key_frame.checksum;
    inner = pinion::codec::write_frame(named, within->body);
  }
  decode(header.shape, inner);
}

void use_basis(ByteSpan bytes) {
  const Bytes basis = with_right_checksum(bytes);
  TwinDecoders twins;
  expect_agreement(twins.add_basis(basis, kBasisLimits));
  if (!twins.accepted()) return;
  const auto parsed = pinion::codec::parse_frame(known().basis_key, kLimits);
  pinion::codec::FrameHeader header = parsed->header;
  header.basis = pinion::codec::basis_id(basis);
  decode(twins, pinion::codec::write_frame(header, parsed->body));
}

void read_file(ByteSpan bytes) {
  const Bytes file = with_right_checksum(bytes);
  const auto container = pinion::codec::parse_container(file);
  if (!container.ok()) return;
  TwinDecoders twins;
  for (const ByteSpan basis : container->bases) expect_agreement(twins.add_basis(basis, kBasisLimits));
  for (const auto& frame : container->frames) decode(twins, with_right_checksum(frame.frame));
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
    case 'm':
      decode_about_map(bytes);
      break;
    default: {
      TwinDecoders twins;
      decode(twins, bytes);
    }
  }
  return 0;
}
