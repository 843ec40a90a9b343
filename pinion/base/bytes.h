#pragma once
// Little-endian reading and writing of byte sequences, for every binary format of ours.
//
// ByteReader never reads past its span: a short input sets a sticky failure and later reads return
// zero, so a parser may read a group of fields and ask once. Not thread-safe; borrows its bytes.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "pinion/base/result.h"

namespace pinion {

static_assert(std::endian::native == std::endian::little, "big-endian hosts are not supported");

using Bytes = std::vector<std::byte>;
using ByteSpan = std::span<const std::byte>;

inline ByteSpan as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteReader {
 public:
  explicit ByteReader(ByteSpan bytes) : bytes_(bytes) {}

  template <class T>
  T read() {
    static_assert(std::is_arithmetic_v<T>);
    T value{};
    if (const ByteSpan from = take(sizeof(T)); !from.empty()) std::memcpy(&value, from.data(), sizeof(T));
    return value;
  }

  // The next `count` bytes, or an empty span and the sticky failure.
  ByteSpan take(std::size_t count) {
    if (failed_ || count > bytes_.size() - offset_) {
      failed_ = true;
      return {};
    }
    const ByteSpan taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  bool failed() const { return failed_; }
  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return failed_ ? 0 : bytes_.size() - offset_; }

  // The verdict: an error naming `what` and the offset if any read ran past the end.
  Result<void> check(std::string_view what) const {
    if (!failed_) return {};
    return Error{Errc::kNeedMoreBytes,
                 std::string(what) + " ends too early: " + std::to_string(bytes_.size()) +
                     " bytes, wanted more at offset " + std::to_string(offset_),
                 ""};
  }

 private:
  ByteSpan bytes_;
  std::size_t offset_ = 0;
  bool failed_ = false;
};

class ByteWriter {
 public:
  template <class T>
  void write(T value) {
    static_assert(std::is_arithmetic_v<T>);
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }

  void write_bytes(ByteSpan from) { bytes_.insert(bytes_.end(), from.begin(), from.end()); }

  // Makes room for `bytes` more, where it is known how many will come.
  void reserve(std::size_t bytes) { bytes_.reserve(bytes_.size() + bytes); }

  // Overwrites a field written before, such as a length that is known only at the end.
  template <class T>
  void patch(std::size_t offset, T value) {
    PINION_ASSERT(offset + sizeof(T) <= bytes_.size());
    std::memcpy(bytes_.data() + offset, &value, sizeof(T));
  }

  std::size_t size() const { return bytes_.size(); }
  ByteSpan view() const { return bytes_; }
  Bytes take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace pinion
