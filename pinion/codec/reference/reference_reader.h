#pragma once
// Reads the fields of docs/format.md §1 by their names, within their ranges, and can keep a log of them.
//
// For the reference decoder only: plain, not fast. Borrows its bytes; not thread-safe.

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "pinion/base/bytes.h"

namespace pinion::codec {

// One field as it was read, or a remark (no bits) on those before it.
struct ReferenceField {
  std::size_t bit = 0;  // from the start of the frame or asset
  std::size_t bits = 0;
  std::string name;
  std::string value;
};
using ReferenceLog = std::vector<ReferenceField>;

// Inclusive.
struct ReferenceRange {
  std::uint64_t least = 0;
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
};

inline Error refused(std::string_view what) { return Error{Errc::kBadFormat, std::string(what), ""}; }

class ReferenceReader {
 public:
  // `log` may be null; `origin` is where `bytes` begins in what the log counts from.
  explicit ReferenceReader(ByteSpan bytes, ReferenceLog* log = nullptr, std::size_t origin = 0)
      : bytes_(bytes), origin_(origin), log_(log) {}

  // Little-endian, `size` bytes; the reader stands at a byte boundary.
  Result<std::uint64_t> number(std::string_view name, std::size_t size, ReferenceRange range = {});
  Result<float> f32(std::string_view name);
  Result<std::uint64_t> varint(std::string_view name, ReferenceRange range = {});

  // The next `size` bytes as they are, or as a reader of their own.
  Result<ByteSpan> bytes(std::string_view name, std::uint64_t size);
  Result<ReferenceReader> part(std::uint64_t size);

  // Of a bit stream.
  Result<std::uint64_t> bits(std::string_view name, int count, ReferenceRange range = {});
  Result<std::uint64_t> gamma(std::string_view name);
  Result<std::uint64_t> rice(std::string_view name, int low_bits);

  // The rest of a bit stream's last byte, which is 0.
  Result<void> end_of_bits();

  // An error unless everything was read.
  Result<void> end(std::string_view what) const;

  std::size_t remaining() const { return bytes_.size() - (bit_ + 7) / 8; }
  std::size_t offset() const { return bit_ / 8; }

  // Adds a remark to the field that was read last, or as a line of its own.
  void explain(std::string_view remark) const;
  void remark(std::string_view name, std::string_view text) const;
  bool logs() const { return log_ != nullptr; }

 private:
  Result<std::uint64_t> take_bits(std::string_view name, std::uint64_t count);
  Result<std::uint64_t> check(std::string_view name, std::uint64_t value, ReferenceRange range) const;
  void note(std::string_view name, std::size_t from_bit, std::string value) const;

  ByteSpan bytes_;
  std::size_t origin_;
  std::size_t bit_ = 0;
  ReferenceLog* log_;
};

}  // namespace pinion::codec
