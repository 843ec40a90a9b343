#pragma once
// Mode 1 of docs/format.md §5: byte planes, those that pay coded by rANS with
// static tables per class of channels. Exact for every bit pattern. Pure
// functions, thread-safe.

#include <vector>

#include "pinion/codec/entropy/rans.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec {

inline constexpr int kMaxPlaneClasses = 16;

enum class PlaneKind : std::uint8_t { kRaw = 0, kConstant = 1, kCoded = 2 };

struct Plane {
  PlaneKind kind = PlaneKind::kRaw;
  std::uint8_t constant = 0;
  std::vector<std::uint8_t> class_of_channel;  // of each channel, if there is more than one class
  std::vector<Frequencies> tables;             // of each class
  std::vector<ByteSpan> chunks;                // borrowed from the body
  ByteSpan raw;                                // likewise
};

struct LosslessBody {
  int lanes = 1;
  std::int64_t chunk_elements = 0;
  std::vector<Plane> planes;  // most significant byte first
};

// True for the types whose exponents lie across bytes until they are rotated
// left by one bit.
inline bool is_rotated(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16; }

// The body of a frame of mode 1, smaller than or about equal to the tensor. The
// tensor is on the CPU.
Bytes encode_lossless(const TensorView& tensor);

// Splits a body into its parts; their content is not checked yet.
Result<LosslessBody> parse_lossless(const FrameHeader& header, ByteSpan body);

Result<Tensor> decode_lossless(const FrameHeader& header, ByteSpan body);

}  // namespace pinion::codec
