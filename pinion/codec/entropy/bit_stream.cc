#include "pinion/codec/entropy/bit_stream.h"

namespace pinion::codec {

Result<std::uint64_t> read_varint(ByteReader& in, std::string_view what) {
  constexpr int kMaxShift = 56;  // nine groups of 7 bits: below 2^63
  std::uint64_t value = 0;
  for (int shift = 0; shift <= kMaxShift; shift += 7) {
    const auto group = in.read<std::uint8_t>();
    if (in.failed()) return in.check(what).error();
    value |= static_cast<std::uint64_t>(group & 0x7f) << shift;
    if ((group & 0x80) != 0) continue;
    if (group == 0 && shift > 0) break;
    return value;
  }
  return Error{Errc::kBadFormat,
               std::string(what) + ": a number is not in its shortest form before offset " +
                   std::to_string(in.offset()),
               ""};
}

}  // namespace pinion::codec
