#pragma once
// The basis asset of docs/format.md §7: a rotation from channels to components,
// quantised and coded.
//
// A Basis is immutable after it is made and may be shared between threads.

#include <memory>

#include "pinion/codec/frame_format.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::codec {

inline constexpr std::uint64_t kMaxBasisCoefficients = 1ull << 26;  // of all bases of a stream

// For bases that were made here: the format's own limits.
inline constexpr BasisLimits kOwnBasisLimits = {.max_channels = kMaxExtent,
                                                .max_coefficients = kMaxBasisCoefficients};

struct Basis {
  BasisId id{};
  Matrix rows;  // [components, channels]: what one unit of a component adds to
                // the channels
};

BasisId basis_id(ByteSpan asset);

// Quantises and codes directions [components, channels]. `steps[k]` is the
// rounding that row k tolerates; it is lowered to a power of two, 1 at most.
// Values are at most kMaxIndex times that.
Bytes encode_basis(const Matrix& directions, std::span<const double> steps);

// kTooLarge if it passes the limits; memory for its coefficients is taken only after that.
Result<std::shared_ptr<const Basis>> decode_basis(ByteSpan asset, const BasisLimits& limits);

}  // namespace pinion::codec
