#pragma once
// Whole runs of rANS symbols with the lane states in registers: the fast twins
// of ChunkDecoder::get.

#include <span>

#include "pinion/codec/entropy/rans.h"

namespace pinion::codec {

// out.size() symbols of one table; symbol i comes from lane i mod lanes.
void decode_run(ChunkDecoder& decoder, int lanes, const DecodeTable& table, std::span<std::uint8_t> out);

// The same with the table of each symbol's channel; the first symbol's is
// tables[channel], and channels follow each other in a ring.
void decode_by_channel(ChunkDecoder& decoder, int lanes, std::span<const DecodeTable* const> tables,
                       std::size_t channel, std::span<std::uint8_t> out);

}  // namespace pinion::codec
