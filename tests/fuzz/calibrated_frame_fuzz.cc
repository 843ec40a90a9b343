// Calibrated frames ('f' first: with checksum and references made right, on a stream that has its first
// frame) and calibrations ('a': with a right checksum; then frames are decoded with them). Any other first
// byte: a frame as it is. Errors are fine; what must not happen is a fault, or a tensor that the receiver did
// not allow.
//
// Seeds come from tests/golden/golden_calibrated_test.cc.

#include <cstdint>
#include <cstring>

#include "pinion/base/assert.h"
#include "pinion/base/crc32c.h"
#include "tests/golden/calibrated_streams.h"

namespace {

using pinion::Bytes;
using pinion::ByteSpan;
using pinion::codec::CalibratedDecoder;
using pinion::codec::Calibration;
using pinion::codec::DecodeLimits;

constexpr DecodeLimits kLimits = {.max_tensor_bytes = 1 << 16, .max_channels = 512};
constexpr std::uint64_t kMaxValues = 1 << 16;

const pinion::codec::testing::GoldenCalibrated& known() {
  static const auto once = pinion::codec::testing::golden_calibrated();
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

void decode(CalibratedDecoder& decoder, ByteSpan frame, std::size_t step) {
  static_cast<void>(pinion::codec::inspect(frame, kLimits).ok());
  const auto decoded = decoder.decode(frame, known().steps[step].context(), kLimits);
  if (decoded.ok()) PINION_ASSERT(decoded->bytes() <= kLimits.max_tensor_bytes);
}

// The frame with the references that the decoder can follow.
Bytes adopted(ByteSpan bytes, const Calibration& calibration, std::uint32_t previous) {
  const auto parsed = pinion::codec::parse_frame(bytes, kLimits);
  if (!parsed.ok()) return Bytes(bytes.begin(), bytes.end());
  pinion::codec::FrameHeader header = parsed->header;
  if (header.basis) header.basis = calibration.id;
  if (header.previous) header.previous = previous;
  return pinion::codec::write_frame(header, parsed->body);
}

std::uint32_t checksum_of(ByteSpan frame) {
  const auto parsed = pinion::codec::parse_frame(frame, kLimits);
  return parsed.ok() ? parsed->checksum : 0;
}

void decode_in_stream(ByteSpan bytes) {
  static const auto calibration = pinion::codec::parse_calibration(known().asset).value();
  CalibratedDecoder decoder(calibration);
  static_cast<void>(decoder.decode(known().frames[0], known().steps[0].context(), kLimits).value());
  const Bytes frame = adopted(with_right_checksum(bytes), *calibration, checksum_of(known().frames[0]));
  decode(decoder, frame, 1);
  decode(decoder, frame, 0);
}

void use_calibration(ByteSpan bytes) {
  const auto calibration = pinion::codec::parse_calibration(with_right_checksum(bytes), kMaxValues);
  if (!calibration.ok()) return;
  PINION_ASSERT(pinion::codec::parse_calibration(write_calibration(**calibration), kMaxValues).ok());
  CalibratedDecoder decoder(*calibration);
  const Bytes key = adopted(known().frames[0], **calibration, 0);
  decode(decoder, key, 0);
  decode(decoder, adopted(known().frames[1], **calibration, checksum_of(key)), 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] == 'f') {
    decode_in_stream(bytes);
  } else if (data[0] == 'a') {
    use_calibration(bytes);
  } else {
    CalibratedDecoder decoder(pinion::codec::parse_calibration(known().asset).value());
    decode(decoder, bytes, 0);
  }
  return 0;
}
