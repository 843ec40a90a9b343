#pragma once
// Bit streams, varints and the two variable-length codes of docs/format.md §1.
//
// BitReader has a sticky failure like ByteReader: read a group, ask once.
// Borrowed bytes; not thread-safe.

#include <bit>
#include <cstdint>

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

  std::uint32_t read(int bits) {
    std::uint32_t value = 0;
    for (int i = 0; i < bits; ++i) value |= static_cast<std::uint32_t>(read_bit()) << i;
    return value;
  }

  std::uint32_t read_gamma() {
    int bits = 0;
    while (!failed_ && read_bit() == 0) {
      if (++bits > kMaxGammaBits) failed_ = true;
    }
    if (failed_) return 1;
    return (1u << bits) | read(bits);
  }

  std::uint32_t read_rice(int low_bits) {
    std::uint32_t quotient = 0;
    while (!failed_ && read_bit() == 1) {
      if (++quotient > kMaxRiceQuotient) failed_ = true;
    }
    return (quotient << low_bits) | read(low_bits);
  }

  bool failed() const { return failed_; }

  // Bytes touched so far.
  std::size_t bytes_read() const { return (bit_ + 7) / 8; }

  // True if nothing failed and the rest of the last byte is zero.
  bool ends_cleanly() {
    while (bit_ % 8 != 0) {
      if (read_bit() != 0) return false;
    }
    return !failed_;
  }

 private:
  int read_bit() {
    if (failed_ || bit_ / 8 >= bytes_.size()) {
      failed_ = true;
      return 0;
    }
    const int bit = std::to_integer<int>(bytes_[bit_ / 8] >> (bit_ % 8)) & 1;
    ++bit_;
    return bit;
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
