#pragma once
// A frequency table as bits in a frame (docs/format.md §4.3).

#include "pinion/codec/entropy/bit_stream.h"
#include "pinion/codec/entropy/rans.h"

namespace pinion::codec {

// `frequencies` has kMaxAlphabet entries with sum kProbabilityScale.
void write_frequencies(BitWriter& out, const Frequencies& frequencies);

Result<Frequencies> read_frequencies(BitReader& in);

}  // namespace pinion::codec
