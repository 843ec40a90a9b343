#pragma once
// Bit streams, varints and the two variable-length codes of docs/format.md §1.
//
// BitReader has a sticky failure like ByteReader: read a group, ask once.
// Borrowed bytes; not thread-safe.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "pinion/base/bytes.h"

namespace pinion::codec {

inline constexpr int kMaxGammaBits = 31;  // value below 2^32
inline constexpr int kMaxRiceQuotient = 40;

inline std::uint32_t zigzag(std::int32_t value) {
  return (static_cast<std::uint32_t>(value) << 1) ^ static_cast<std::uint32_t>(value >> 31);
}

inline std::int32_t unzigzag(std::uint32_t value) {
  return static_cast<std::int32_t>(value >> 1) ^ -static_cast<std::int32_t>(value & 1);
}

class BitWriter {
 public:
  void write(std::uint32_t value, int bits) {
    pending_ |= static_cast<std::uint64_t>(value) << pending_bits_;
    pending_bits_ += bits;
    while (pending_bits_ >= 8) {
      bytes_.push_back(static_cast<std::byte>(pending_ & 0xff));
      pending_ >>= 8;
      pending_bits_ -= 8;
    }
  }

  void write_gamma(std::uint32_t value) {
    PINION_ASSERT(value >= 1);
    const int bits = std::bit_width(value) - 1;
    write(0, bits);
    write(1, 1);
    write(bits == 0 ? 0 : value & ((1u << bits) - 1), bits);
  }

  void write_rice(int low_bits, std::uint32_t value) {
    const std::uint32_t quotient = value >> low_bits;
    PINION_ASSERT(quotient <= kMaxRiceQuotient);
    for (std::uint32_t i = 0; i < quotient; ++i) write(1, 1);
    write(0, 1);
    write(value & ((1u << low_bits) - 1), low_bits);
  }

  std::size_t bits() const { return bytes_.size() * 8 + static_cast<std::size_t>(pending_bits_); }

  // Pads to a byte boundary and hands out the bytes.
  Bytes finish() && {
    if (pending_bits_ > 0) bytes_.push_back(static_cast<std::byte>(pending_ & 0xff));
    return std::move(bytes_);
  }

 private:
  Bytes bytes_;
  std::uint64_t pending_ = 0;
  int pending_bits_ = 0;
};

class BitReader {
 public:
  explicit BitReader(ByteSpan bytes) : bytes_(bytes) {}

  // At most 32.
  std::uint32_t read(int bits) {
    const std::uint64_t ahead = peek();
    return skip(bits) ? static_cast<std::uint32_t>(ahead & ((std::uint64_t{1} << bits) - 1)) : 0;
  }

  std::uint32_t read_gamma() {
    const int bits = std::countr_zero(peek());
    if (bits > kMaxGammaBits) failed_ = true;
    if (!skip(bits + 1)) return 1;
    return (1u << bits) | read(bits);
  }

  std::uint32_t read_rice(int low_bits) {
    const int quotient = std::countr_one(peek());
    if (quotient > kMaxRiceQuotient) failed_ = true;
    if (!skip(quotient + 1)) return 0;
    return (static_cast<std::uint32_t>(quotient) << low_bits) | read(low_bits);
  }

  bool failed() const { return failed_; }

  // Bytes touched so far.
  std::size_t bytes_read() const { return (bit_ + 7) / 8; }

  // True if nothing failed and the rest of the last byte is zero.
  bool ends_cleanly() { return read(static_cast<int>((8 - bit_ % 8) % 8)) == 0 && !failed_; }

 private:
  // 57 bits or more from here on; behind the end are zeros.
  std::uint64_t peek() const {
    const ByteSpan rest = bytes_.subspan(bit_ / 8);
    std::uint64_t word = 0;
    if (rest.size() >= sizeof(word)) {  // of a size that is known: no call
      std::memcpy(&word, rest.data(), sizeof(word));
    } else if (!rest.empty()) {
      std::memcpy(&word, rest.data(), rest.size());
    }
    return word >> (bit_ % 8);
  }

  bool skip(int bits) {
    failed_ = failed_ || static_cast<std::size_t>(bits) > 8 * bytes_.size() - bit_;
    if (!failed_) bit_ += static_cast<std::size_t>(bits);
    return !failed_;
  }

  ByteSpan bytes_;
  std::size_t bit_ = 0;
  bool failed_ = false;
};

inline void write_varint(ByteWriter& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.write(static_cast<std::uint8_t>(0x80 | (value & 0x7f)));
  out.write(static_cast<std::uint8_t>(value));
}

// The canonical varint at the reader's place. kNeedMoreBytes at the end of
// input, kBadFormat if overlong.
Result<std::uint64_t> read_varint(ByteReader& in, std::string_view what);

}  // namespace pinion::codec
