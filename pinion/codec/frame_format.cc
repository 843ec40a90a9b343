#include "pinion/codec/frame_format.h"

#include <algorithm>

#include "pinion/base/checked.h"
#include "pinion/base/crc32c.h"
#include "pinion/codec/entropy/bit_stream.h"

namespace pinion::codec {
namespace {

constexpr std::size_t kMaxHeaderBytes = 128;  // before the body

Result<Mode> mode_from_code(std::uint8_t code) {
  const auto mode = static_cast<Mode>(code);
  if (mode <= Mode::kMapped) return mode;
  return Error{Errc::kUnsupported, "coded frame of unknown mode " + std::to_string(code),
               "it was written by a newer version"};
}

bool mode_allows(Mode mode, DType dtype) {
  switch (mode) {
    case Mode::kRaw:
      return true;
    case Mode::kLossless:
      return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
             dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
    case Mode::kFidelity:
    case Mode::kBounded:
    case Mode::kInt8:
    case Mode::kInt4:
    case Mode::kCalibrated:
    case Mode::kMapped:
      return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
  }
  return false;
}

// The flags that frames of a mode may have.
int flags_of(Mode mode) {
  switch (mode) {
    case Mode::kRaw:
    case Mode::kInt8:
    case Mode::kInt4:
      return 0;
    case Mode::kLossless:
    case Mode::kBounded:
      return kFlagPrevious;
    case Mode::kMapped:
      return kFlagBasis;
    case Mode::kFidelity:
    case Mode::kCalibrated:
      return kFlagBasis | kFlagPrevious;
  }
  return 0;
}

Result<Shape> read_shape(ByteReader& in) {
  const auto rank = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("coded frame"));
  if (rank > Shape::kMaxRank) {
    return Error{Errc::kBadFormat, "coded frame has rank " + std::to_string(rank) + ", at most 8 is allowed",
                 ""};
  }
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  std::uint64_t elements = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    PINION_TRY(const std::uint64_t extent, read_varint(in, "coded frame"));
    const auto product = checked_mul(elements, std::max<std::uint64_t>(extent, 1));
    if (extent > kMaxExtent || !product || *product > kMaxElements) {
      return Error{Errc::kBadFormat,
                   "coded frame has an impossible shape (axis " + std::to_string(axis) + ")", ""};
    }
    elements = *product;
    extents[axis] = static_cast<std::int64_t>(extent);
  }
  return Shape(std::span<const std::int64_t>(extents.data(), rank));
}

Result<void> check_limits(const FrameHeader& header, const DecodeLimits& limits) {
  const auto bytes = static_cast<std::uint64_t>(header.shape.elements()) * size_bytes(header.dtype);
  if (bytes > limits.max_tensor_bytes) {
    return Error{Errc::kTooLarge,
                 "coded tensor " + to_string(header.shape) + " has " + std::to_string(bytes) +
                     " bytes, at most " + std::to_string(limits.max_tensor_bytes) + " are accepted",
                 ""};
  }
  if (static_cast<std::uint64_t>(channels_of(header.shape)) > limits.max_channels) {
    return Error{Errc::kTooLarge,
                 "coded tensor " + to_string(header.shape) + " has more than " +
                     std::to_string(limits.max_channels) + " channels",
                 ""};
  }
  return {};
}

// All fields before the body, and room for the rest.
ByteWriter begin_frame(const FrameHeader& header, std::size_t body_bytes) {
  PINION_ASSERT(mode_allows(header.mode, header.dtype));
  ByteWriter out;
  out.reserve(kMaxHeaderBytes + body_bytes + kChecksumBytes);
  out.write_bytes(std::as_bytes(std::span(kFrameMagic)));
  out.write(kFormatVersion);
  out.write(static_cast<std::uint8_t>(header.mode));
  out.write(static_cast<std::uint8_t>(header.dtype));
  out.write(
      static_cast<std::uint8_t>((header.basis ? kFlagBasis : 0) | (header.previous ? kFlagPrevious : 0)));
  out.write(static_cast<std::uint8_t>(header.shape.rank()));
  for (const std::int64_t extent : header.shape.extents())
    write_varint(out, static_cast<std::uint64_t>(extent));
  write_varint(out, body_bytes);
  if (header.basis) out.write_bytes(*header.basis);
  if (header.previous) out.write(*header.previous);
  return out;
}

}  // namespace

std::int64_t channels_of(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[shape.rank() - 1]; }

std::int64_t rows_of(const Shape& shape) {
  const std::int64_t channels = channels_of(shape);
  return channels == 0 ? 0 : shape.elements() / channels;
}

bool same_matrix(const Tensor& tensor, DType dtype, const Shape& shape) {
  return tensor.defined() && tensor.dtype() == dtype && rows_of(tensor.shape()) == rows_of(shape) &&
         channels_of(tensor.shape()) == channels_of(shape);
}

Bytes write_frame_header(const FrameHeader& header, std::size_t body_bytes) {
  return begin_frame(header, body_bytes).take();
}

Bytes write_frame(const FrameHeader& header, ByteSpan body) {
  return write_frame_of_parts(header, {&body, 1});
}

Bytes write_frame_of_parts(const FrameHeader& header, std::span<const ByteSpan> body_parts) {
  std::size_t body_bytes = 0;
  for (const ByteSpan part : body_parts) body_bytes += part.size();
  ByteWriter out = begin_frame(header, body_bytes);
  for (const ByteSpan part : body_parts) out.write_bytes(part);
  out.write(crc32c(out.view()));
  return std::move(out).take();
}

PendingFrame::PendingFrame(const FrameHeader& header, std::size_t body_bytes)
    : bytes_(begin_frame(header, body_bytes).take()), body_at_(bytes_.size()) {
  bytes_.resize(body_at_ + body_bytes);
}

Bytes PendingFrame::finish() && {
  const std::uint32_t checksum = crc32c(bytes_);
  const auto field = std::as_bytes(std::span(&checksum, 1));
  bytes_.insert(bytes_.end(), field.begin(), field.end());
  return std::move(bytes_);
}

std::uint32_t frame_checksum(ByteSpan frame) {
  PINION_ASSERT(frame.size() >= kChecksumBytes);
  std::uint32_t stored;
  std::memcpy(&stored, frame.data() + frame.size() - kChecksumBytes, sizeof(stored));
  return stored;
}

Error previous_frame_not_here() {
  return Error{Errc::kNotFound, "coded frame predicts from a frame that is not here",
               "ask the sender to restart the stream"};
}

Result<ParsedFrame> parse_frame(ByteSpan frame, const DecodeLimits& limits, ModeFilter filter) {
  ByteReader in(frame);
  const ByteSpan magic = in.take(kFrameMagic.size());
  PINION_TRY_VOID(in.check("coded frame"));
  const auto same = [](std::byte a, std::uint8_t b) { return std::to_integer<std::uint8_t>(a) == b; };
  if (!std::equal(magic.begin(), magic.end(), kFrameMagic.begin(), same)) {
    return Error{Errc::kBadFormat, "not a coded frame: it does not start with PNF1", ""};
  }
  const auto version = in.read<std::uint8_t>();
  const auto mode = in.read<std::uint8_t>();
  const auto dtype = in.read<std::uint8_t>();
  const auto flags = in.read<std::uint8_t>();
  PINION_TRY_VOID(in.check("coded frame"));
  if (version != kFormatVersion) {
    return Error{Errc::kUnsupported,
                 "coded frame of version " + std::to_string(version) + ", this build reads version 1",
                 "use the same Pinion version on both sides"};
  }
  ParsedFrame parsed{};
  PINION_TRY(parsed.header.mode, mode_from_code(mode));
  if (parsed.header.mode == Mode::kCalibrated && !filter.calibrated) {
    return Error{Errc::kUnsupported, "calibrated frame outside its stream",
                 "only a job that holds its calibration and latents can decode it"};
  }
  if (parsed.header.mode == Mode::kMapped && !filter.mapped) {
    return Error{Errc::kUnsupported, "frame about what latents tell, outside its stream",
                 "only a job that holds its latents can decode it"};
  }
  const std::optional<DType> known = dtype_from_code(dtype);
  if (!known || !mode_allows(parsed.header.mode, *known)) {
    return Error{Errc::kBadFormat,
                 "coded frame has an element type that its mode does not allow: " + std::to_string(dtype),
                 ""};
  }
  parsed.header.dtype = *known;
  if ((flags & ~flags_of(parsed.header.mode)) != 0) {
    return Error{Errc::kBadFormat, "coded frame has reserved flags set: " + std::to_string(flags), ""};
  }
  PINION_TRY(parsed.header.shape, read_shape(in));
  PINION_TRY_VOID(check_limits(parsed.header, limits));
  PINION_TRY(const std::uint64_t body_bytes, read_varint(in, "coded frame"));
  if (body_bytes > kMaxBodyBytes)
    return Error{Errc::kBadFormat, "coded frame has an impossible body size", ""};
  if (flags & kFlagBasis) {
    const ByteSpan id = in.take(kBasisIdBytes);
    PINION_TRY_VOID(in.check("coded frame"));
    std::copy(id.begin(), id.end(), parsed.header.basis.emplace().begin());
  }
  if (flags & kFlagPrevious) parsed.header.previous = in.read<std::uint32_t>();
  parsed.body = in.take(body_bytes);
  parsed.checksum = in.read<std::uint32_t>();
  PINION_TRY_VOID(in.check("coded frame"));
  if (in.remaining() != 0) {
    return Error{Errc::kBadFormat,
                 "coded frame is followed by " + std::to_string(in.remaining()) + " stray bytes", ""};
  }
  if (parsed.header.shape.elements() == 0 && body_bytes != 0) {
    return Error{Errc::kBadFormat, "coded frame of an empty tensor has a body", ""};
  }
  if (parsed.header.shape.elements() == 0 && parsed.header.mode == Mode::kLossless &&
      parsed.header.previous) {
    return Error{Errc::kBadFormat, "coded frame of an empty tensor predicts from another", ""};
  }
  if (parsed.header.shape.elements() == 0 &&
      (parsed.header.mode == Mode::kFidelity || parsed.header.mode == Mode::kMapped)) {
    return Error{Errc::kBadFormat, "coded frame of an empty tensor has a mode that needs elements", ""};
  }
  return parsed;
}

Result<void> verify_checksum(ByteSpan frame) {
  if (crc32c(frame.first(frame.size() - kChecksumBytes)) == frame_checksum(frame)) return {};
  return Error{Errc::kBadFormat, "coded frame is damaged: its checksum does not match", "send it again"};
}

}  // namespace pinion::codec
