#include "pinion/codec/reference/reference_reader.h"

#include <cstdio>

#include "pinion/base/sha256.h"

namespace pinion::codec {
namespace {

constexpr int kMaxGammaZeros = 31;
constexpr int kMaxRiceOnes = 40;
constexpr int kMaxVarintBytes = 9;
constexpr std::size_t kLoggedBytes = 16;  // of a field of many bytes

}  // namespace

Result<std::uint64_t> ReferenceReader::take_bits(std::string_view name, std::uint64_t count) {
  if (count > 8 * bytes_.size() - bit_) {
    return Error{Errc::kNeedMoreBytes, std::string(name) + " is cut short", ""};
  }
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < count; ++i, ++bit_) {
    const auto bit = std::to_integer<std::uint64_t>(bytes_[bit_ / 8] >> (bit_ % 8)) & 1;
    value |= bit << i;
  }
  return value;
}

Result<std::uint64_t> ReferenceReader::check(std::string_view name, std::uint64_t value,
                                             ReferenceRange range) const {
  if (value >= range.least && value <= range.most) return value;
  return refused(std::string(name) + " is " + std::to_string(value) + ", out of its range");
}

void ReferenceReader::note(std::string_view name, std::size_t from_bit, std::string value) const {
  if (log_ == nullptr) return;
  log_->push_back({8 * origin_ + from_bit, bit_ - from_bit, std::string(name), std::move(value)});
}

void ReferenceReader::explain(std::string_view remark) const {
  if (log_ != nullptr) log_->back().value += ": " + std::string(remark);
}

void ReferenceReader::remark(std::string_view name, std::string_view text) const {
  if (log_ != nullptr) log_->push_back({8 * origin_ + bit_, 0, std::string(name), std::string(text)});
}

Result<std::uint64_t> ReferenceReader::number(std::string_view name, std::size_t size, ReferenceRange range) {
  const std::size_t from = bit_;
  PINION_TRY(const std::uint64_t value, take_bits(name, 8 * size));
  note(name, from, std::to_string(value));
  return check(name, value, range);
}

Result<float> ReferenceReader::f32(std::string_view name) {
  const std::size_t from = bit_;
  PINION_TRY(const std::uint64_t value, take_bits(name, 32));
  const auto number = std::bit_cast<float>(static_cast<std::uint32_t>(value));
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", static_cast<double>(number));
  note(name, from, text);
  return number;
}

Result<std::uint64_t> ReferenceReader::varint(std::string_view name, ReferenceRange range) {
  const std::size_t from = bit_;
  std::uint64_t value = 0;
  for (int i = 0; i < kMaxVarintBytes; ++i) {
    PINION_TRY(const std::uint64_t byte, take_bits(name, 8));
    value |= (byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    if (byte == 0 && i > 0) return refused(std::string(name) + " is not in its shortest form");
    note(name, from, std::to_string(value));
    return check(name, value, range);
  }
  return refused(std::string(name) + " has more than nine bytes");
}

Result<ByteSpan> ReferenceReader::bytes(std::string_view name, std::uint64_t size) {
  if (size > remaining()) return Error{Errc::kNeedMoreBytes, std::string(name) + " is cut short", ""};
  const ByteSpan taken = bytes_.subspan(offset(), size);
  const std::size_t from = bit_;
  bit_ += 8 * size;
  if (log_ != nullptr)
    note(name, from, size <= kLoggedBytes ? to_hex(taken) : std::to_string(size) + " bytes");
  return taken;
}

Result<ReferenceReader> ReferenceReader::part(std::uint64_t size) {
  if (size > remaining()) return Error{Errc::kNeedMoreBytes, "a part is cut short", ""};
  const ReferenceReader reader(bytes_.subspan(offset(), size), log_, origin_ + offset());
  bit_ += 8 * size;
  return reader;
}

Result<std::uint64_t> ReferenceReader::bits(std::string_view name, int count, ReferenceRange range) {
  const std::size_t from = bit_;
  PINION_TRY(const std::uint64_t value, take_bits(name, static_cast<std::uint64_t>(count)));
  note(name, from, std::to_string(value));
  return check(name, value, range);
}

Result<std::uint64_t> ReferenceReader::gamma(std::string_view name) {
  const std::size_t from = bit_;
  for (int zeros = 0; zeros <= kMaxGammaZeros; ++zeros) {
    PINION_TRY(const std::uint64_t bit, take_bits(name, 1));
    if (bit == 0) continue;
    PINION_TRY(const std::uint64_t low, take_bits(name, static_cast<std::uint64_t>(zeros)));
    const std::uint64_t value = (std::uint64_t{1} << zeros) + low;
    note(name, from, std::to_string(value));
    return value;
  }
  return refused(std::string(name) + " has too many zeros");
}

Result<std::uint64_t> ReferenceReader::rice(std::string_view name, int low_bits) {
  const std::size_t from = bit_;
  for (std::uint64_t ones = 0; ones <= kMaxRiceOnes; ++ones) {
    PINION_TRY(const std::uint64_t bit, take_bits(name, 1));
    if (bit == 1) continue;
    PINION_TRY(const std::uint64_t low, take_bits(name, static_cast<std::uint64_t>(low_bits)));
    const std::uint64_t value = (ones << low_bits) + low;
    note(name, from, std::to_string(value));
    return value;
  }
  return refused(std::string(name) + " has too many ones");
}

Result<void> ReferenceReader::end_of_bits() {
  if (bit_ % 8 == 0) return {};
  PINION_TRY(const std::uint64_t rest, bits("padding", static_cast<int>(8 - bit_ % 8)));
  if (rest == 0) return {};
  return refused("the padding of a bit stream is not 0");
}

Result<void> ReferenceReader::end(std::string_view what) const {
  if (8 * bytes_.size() == bit_) return {};
  return refused(std::string(what) + " is followed by stray bytes");
}

}  // namespace pinion::codec
