#pragma once
// The outer frame of docs/format.md §2: constants, and the header's reader and
// writer.
//
// Reading trusts nothing and bounds sizes by DecodeLimits before anyone
// allocates. Pure functions.

#include <array>
#include <cstdint>
#include <optional>

#include "pinion/base/bytes.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/codec.h"

namespace pinion::codec {

inline constexpr std::array<std::uint8_t, 4> kFrameMagic = {'P', 'N', 'F', '1'};
inline constexpr std::uint8_t kFormatVersion = 1;
inline constexpr std::uint8_t kFlagBasis = 1;
inline constexpr std::uint8_t kFlagPrevious = 2;
inline constexpr std::size_t kBasisIdBytes = 16;
inline constexpr std::size_t kChecksumBytes = 4;
inline constexpr std::uint64_t kMaxExtent = (1ull << 31) - 1;
inline constexpr std::uint64_t kMaxElements = (1ull << 48) - 1;
inline constexpr std::uint64_t kMaxBodyBytes = (1ull << 48) - 1;

// The first bytes of the SHA-256 of a basis or calibration asset.
using BasisId = std::array<std::byte, kBasisIdBytes>;

struct FrameHeader {
  Mode mode = Mode::kRaw;
  DType dtype = DType::kF32;
  Shape shape;
  std::optional<BasisId> basis;           // the basis or calibration that the frame needs
  std::optional<std::uint32_t> previous;  // checksum of the frame that it predicts from
};

// The last axis, 1 for a scalar.
std::int64_t channels_of(const Shape& shape);
// All other axes; 0 if any extent is 0.
std::int64_t rows_of(const Shape& shape);

// Whether the tensor has that type and those rows and channels; an undefined one has none.
bool same_matrix(const Tensor& tensor, DType dtype, const Shape& shape);

// All fields before a body of that size.
Bytes write_frame_header(const FrameHeader& header, std::size_t body_bytes);

// A whole frame around `body`, or around its parts.
Bytes write_frame(const FrameHeader& header, ByteSpan body);
Bytes write_frame_of_parts(const FrameHeader& header, std::span<const ByteSpan> body_parts);

// A frame whose body is written in place.
class PendingFrame {
 public:
  PendingFrame(const FrameHeader& header, std::size_t body_bytes);
  std::span<std::byte> body() { return std::span(bytes_).subspan(body_at_); }
  Bytes finish() &&;

 private:
  Bytes bytes_;
  std::size_t body_at_ = 0;
};

// The last field of a frame that write_frame() made.
std::uint32_t frame_checksum(ByteSpan frame);

// Modes whose frames cannot be decoded outside their streams.
struct ModeFilter {
  bool calibrated = true;
  bool mapped = true;
};

struct ParsedFrame {
  FrameHeader header;
  ByteSpan body;           // borrowed from the frame
  std::uint32_t checksum;  // as stored in the frame
};

// Checks everything but the checksum and the body's content. kNeedMoreBytes if
// the frame is cut short, kTooLarge if its tensor passes the limits. Frames of
// modes that the filter leaves out are kUnsupported, as unknown ones are.
Result<ParsedFrame> parse_frame(ByteSpan frame, const DecodeLimits& limits, ModeFilter filter = {});

// kNotFound: what a decoder says to a frame that predicts from one that it does not hold.
Error previous_frame_not_here();

// kBadFormat unless the stored checksum is right. `frame` is the whole frame
// that was parsed.
Result<void> verify_checksum(ByteSpan frame);

}  // namespace pinion::codec
