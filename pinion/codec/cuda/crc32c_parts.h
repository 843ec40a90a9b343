#pragma once
// CRC-32C in parts that are computed side by side and put together: polynomials modulo the CRC's, as numbers
// whose bit 31 - k is the coefficient of x^k. constexpr functions for code on any processor.
//
// The raw CRC of 32-bit words w(0) .. w(n-1), without initial and final inversion, is the sum (exclusive or)
// of w(i) x^(32 (n - i)). The CRC of a message inverts its first four bytes, takes that and inverts it.

#include <array>
#include <cstdint>

namespace pinion::codec {

inline constexpr std::uint32_t kCrcPolynomial = 0x82f63b78u;
inline constexpr std::uint32_t kCrcOne = 0x80000000u;  // x^0

constexpr std::uint32_t crc_times_x(std::uint32_t a) {
  return (a >> 1) ^ ((a & 1) != 0 ? kCrcPolynomial : 0u);
}

constexpr std::uint32_t crc_product(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (int k = 0; k < 32; ++k) {
    product ^= (a & 0x80000000u) != 0 ? b : 0u;
    a <<= 1;
    b = crc_times_x(b);
  }
  return product;
}

// One byte behind a raw CRC.
constexpr std::uint32_t crc_with_byte(std::uint32_t crc, std::uint32_t byte) {
  crc ^= byte;
  for (int bit = 0; bit < 8; ++bit) crc = crc_times_x(crc);
  return crc;
}

inline constexpr int kCrcPowers = 40;  // x^(2^k), enough for messages of 2^36 bytes

constexpr std::array<std::uint32_t, kCrcPowers> make_crc_powers() {
  std::array<std::uint32_t, kCrcPowers> powers{};
  std::uint32_t power = kCrcOne >> 1;
  for (std::uint32_t& p : powers) {
    p = power;
    power = crc_product(power, power);
  }
  return powers;
}

constexpr std::uint32_t crc_power(std::uint64_t exponent, const std::uint32_t* powers) {
  std::uint32_t product = kCrcOne;
  for (int k = 0; exponent != 0; ++k, exponent >>= 1) {
    if ((exponent & 1) != 0) product = crc_product(product, powers[k]);
  }
  return product;
}

// A warp takes the words 32 at a time; from one of its lane's words to the next lie 1024 bits. What a state
// becomes over these is looked up in digits of 6 bits, the lowest first: few enough that each of 32 lanes can
// have a copy of the table in a bank of shared memory of its own.
inline constexpr int kCrcStride = 1024;
inline constexpr std::uint32_t kCrcDigitValues = 64;
inline constexpr std::uint32_t kCrcTableEntries = 5 * kCrcDigitValues + 4;

constexpr void make_crc_table(const std::uint32_t* powers, std::uint32_t* table) {
  const std::uint32_t stride = crc_power(kCrcStride, powers);
  for (std::uint32_t i = 0; i < kCrcTableEntries; ++i)
    table[i] = crc_product(stride, (i % kCrcDigitValues) << (i / kCrcDigitValues * 6));
}

// `entry_at` gives an entry of the table.
template <class EntryAt>
constexpr std::uint32_t crc_over_stride(std::uint32_t state, EntryAt entry_at) {
  return entry_at(state & 63) ^ entry_at(64 + (state >> 6 & 63)) ^ entry_at(128 + (state >> 12 & 63)) ^
         entry_at(192 + (state >> 18 & 63)) ^ entry_at(256 + (state >> 24 & 63)) ^
         entry_at(320 + (state >> 30));
}

// A part of a message is what one warp takes. Powers of x for what lies behind a lane's last word in its
// part, and behind a part: that is the product of an entry of `low` and one of `high`, by the digits of the
// part's number from the message's end.
inline constexpr std::uint32_t kCrcPartWords = 32 * 64;
inline constexpr std::uint32_t kCrcPartDigit = 1024;

struct CrcPowersOfParts {
  std::array<std::uint32_t, 32> of_lane;
  std::array<std::uint32_t, kCrcPartDigit> low, high;
};

constexpr CrcPowersOfParts make_crc_part_powers(const std::uint32_t* powers, std::uint64_t part_words) {
  CrcPowersOfParts parts{};
  for (std::uint32_t lane = 0; lane < 32; ++lane) parts.of_lane[lane] = crc_power(32 * (32 - lane), powers);
  const std::uint32_t part = crc_power(32 * part_words, powers);
  const std::uint32_t all_low = crc_power(32 * part_words * kCrcPartDigit, powers);
  parts.low[0] = parts.high[0] = kCrcOne;
  for (std::uint32_t i = 1; i < kCrcPartDigit; ++i) {
    parts.low[i] = crc_product(parts.low[i - 1], part);
    parts.high[i] = crc_product(parts.high[i - 1], all_low);
  }
  return parts;
}

// The word at aligned place `at` (in bytes) of a message that begins at `begin`: without what lies before,
// and its first four bytes inverted.
constexpr std::uint32_t crc_word(std::uint32_t word, std::uint64_t at, std::uint64_t begin) {
  const auto from = [&](std::uint64_t place) {  // a mask of the bytes at and behind that place
    if (place <= at) return 0xffffffffu;
    return place >= at + 4 ? 0u : 0xffffffffu << (8 * (place - at));
  };
  const std::uint32_t mine = from(begin);
  return (word & mine) ^ (mine & ~from(begin + 4));
}

}  // namespace pinion::codec
