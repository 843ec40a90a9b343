#pragma once
// Uniform quantisation between the least and the greatest value of each channel, with a number of bits for
// each: the quantiser of the baselines that are no video. Pure functions.
//
// The bytes: for each channel of at least one bit its range as two bfloat16; then for each of more than 8
// bits the high bytes of its symbols; then for each the low bytes. Channel by channel, so that a compressor
// sees like beside like.

#include <span>

#include "pinion/base/bytes.h"
#include "pinion/codec/math/matrix.h"

namespace pinion::bench {

inline constexpr int kMaxSymbolBits = 16;

// `values` is [channels, rows]; bits from 0 to kMaxSymbolBits, 0: the channel is left out.
Bytes to_symbols(const codec::Matrix& values, std::span<const std::uint8_t> bits);

// What was quantised, each value within half a step of its channel (the range over 2^bits - 1); 0 where
// channels were left out. kBadFormat if the bytes do not add up.
Result<codec::Matrix> from_symbols(ByteSpan symbols, std::span<const std::uint8_t> bits, std::size_t rows);

// How many bytes to_symbols() makes.
std::size_t symbol_bytes(std::span<const std::uint8_t> bits, std::size_t rows);

}  // namespace pinion::bench
