// Calibrated frames ('f' first: with checksum and references made right, on streams that have their first
// frame) and calibrations ('a': with a right checksum; then frames are decoded with them). Any other first
// byte: a frame as it is. Each time on a stream whose rows come in bands, and on one of transformed
// residuals. Errors are fine; what must not happen is a fault, or a tensor that the receiver did not allow.
//
// Seeds come from tests/golden/golden_calibrated_test.cc.

#include <array>
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

// A stream and its calibration, read back.
struct Known : pinion::codec::testing::GoldenCalibrated {
  explicit Known(const pinion::codec::testing::SyntheticForm& form)
      : GoldenCalibrated(pinion::codec::testing::golden_calibrated(form)),
        calibration(pinion::codec::parse_calibration(asset).value()) {}

  std::shared_ptr<const Calibration> calibration;
};

const std::array<Known, 3>& all_known() {
  static const std::array<Known, 3> once = {Known(pinion::codec::testing::kGoldenBands),
                                            Known(pinion::codec::testing::kGoldenGrid),
                                            Known(pinion::codec::testing::kGoldenLow)};
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

void decode(const Known& known, CalibratedDecoder& decoder, ByteSpan frame, std::size_t step) {
  static_cast<void>(pinion::codec::inspect(frame, kLimits).ok());
  const auto decoded = decoder.decode(frame, known.steps[step].context(), kLimits);
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

void decode_in_stream(const Known& known, ByteSpan bytes) {
  CalibratedDecoder decoder(known.calibration);
  static_cast<void>(decoder.decode(known.frames[0], known.steps[0].context(), kLimits).value());
  const Bytes frame = adopted(with_right_checksum(bytes), *known.calibration, checksum_of(known.frames[0]));
  decode(known, decoder, frame, 1);
  decode(known, decoder, frame, 0);
}

void use_calibration(const Known& known, ByteSpan bytes) {
  const auto calibration = pinion::codec::parse_calibration(with_right_checksum(bytes), kMaxValues);
  if (!calibration.ok()) return;
  PINION_ASSERT(pinion::codec::parse_calibration(write_calibration(**calibration), kMaxValues).ok());
  CalibratedDecoder decoder(*calibration);
  const Bytes key = adopted(known.frames[0], **calibration, 0);
  decode(known, decoder, key, 0);
  decode(known, decoder, adopted(known.frames[1], **calibration, checksum_of(key)), 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  for (const Known& known : all_known()) {
    if (data[0] == 'f') {
      decode_in_stream(known, bytes);
    } else if (data[0] == 'a') {
      use_calibration(known, bytes);
    } else {
      CalibratedDecoder decoder(known.calibration);
      decode(known, decoder, bytes, 0);
    }
  }
  return 0;
}
