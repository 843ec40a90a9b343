#include "pinion/codec/entropy/byte_tables.h"

#include "pinion/codec/entropy/rans_lanes.h"

namespace pinion::codec {

void ByteDecodeTables::build(std::span<const Frequencies> classes) {
  slots_.resize(classes.size() * kProbabilityScale);
  std::uint32_t* slot = slots_.data();
  for (const Frequencies& frequencies : classes) {
    for (std::uint32_t s = 0; s < frequencies.size(); ++s) {
      const std::uint32_t f = frequencies[s];
      for (std::uint32_t i = 0; i < f; ++i) *slot++ = s | (f - 1) << 8 | i << 20;
    }
  }
  PINION_ASSERT(slot == slots_.data() + slots_.size());
}

void ByteEncodeTables::build(std::span<const Frequencies> classes) {
  reciprocals_.resize(classes.size() * kMaxAlphabet);
  ranges_.resize(classes.size() * kMaxAlphabet);
  std::size_t at = 0;
  for (const Frequencies& frequencies : classes) {
    std::uint32_t start = 0;
    for (const std::uint32_t f : frequencies) {
      reciprocals_[at] = lane_reciprocal(f);
      ranges_[at++] = f | start << 16;
      start += f;
    }
  }
}

}  // namespace pinion::codec
