#include "pinion/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace pinion {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

std::uint32_t update_portable(const std::byte* data, std::size_t size, std::uint32_t state) {
  for (std::size_t i = 0; i < size; ++i) {
    state = (state >> 8) ^ kTable[(state ^ std::to_integer<std::uint32_t>(data[i])) & 0xffu];
  }
  return state;
}

#if defined(__x86_64__)
// The instruction takes three cycles and starts one each: three stretches go side by side.
constexpr std::size_t kStretch = 4096;

// What so many zero bytes do to a state, which is linear: column i is what becomes of bit i.
using Columns = std::array<std::uint32_t, 32>;

constexpr std::uint32_t image_of(const Columns& columns, std::uint32_t state) {
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < columns.size(); ++i) result ^= (state >> i & 1) != 0 ? columns[i] : 0;
  return result;
}

constexpr std::array<std::array<std::uint32_t, 256>, 4> make_stretch_tables() {
  Columns columns{};
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::uint32_t state = std::uint32_t{1} << i;
    columns[i] = (state >> 8) ^ kTable[state & 0xffu];
  }
  for (std::size_t bytes = 1; bytes < kStretch; bytes *= 2) {
    Columns twice{};
    for (std::size_t i = 0; i < columns.size(); ++i) twice[i] = image_of(columns, columns[i]);
    columns = twice;
  }
  std::array<std::array<std::uint32_t, 256>, 4> tables{};
  for (std::uint32_t byte = 0; byte < 4; ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) {
      tables[byte][value] = image_of(columns, value << (8 * byte));
    }
  }
  return tables;
}

constexpr std::array<std::array<std::uint32_t, 256>, 4> kStretchTables = make_stretch_tables();

std::uint32_t behind_stretch(std::uint32_t state) {
  return kStretchTables[0][state & 0xff] ^ kStretchTables[1][state >> 8 & 0xff] ^
         kStretchTables[2][state >> 16 & 0xff] ^ kStretchTables[3][state >> 24];
}

std::uint64_t word_at(const std::byte* data) {
  std::uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t update_sse42(const std::byte* data, std::size_t size,
                                                             std::uint32_t state) {
  for (; size >= 3 * kStretch; data += 3 * kStretch, size -= 3 * kStretch) {
    std::uint64_t first = state, second = 0, third = 0;
    for (std::size_t i = 0; i < kStretch; i += 8) {
      first = _mm_crc32_u64(first, word_at(data + i));
      second = _mm_crc32_u64(second, word_at(data + kStretch + i));
      third = _mm_crc32_u64(third, word_at(data + 2 * kStretch + i));
    }
    state = behind_stretch(behind_stretch(static_cast<std::uint32_t>(first)) ^
                           static_cast<std::uint32_t>(second)) ^
            static_cast<std::uint32_t>(third);
  }
  std::uint64_t wide = state;
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, word_at(data));
  return update_portable(data, size, static_cast<std::uint32_t>(wide));
}
#endif

}  // namespace

std::uint32_t crc32c(ByteSpan bytes, std::uint32_t seed) {
  const std::uint32_t state = ~seed;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~update_sse42(bytes.data(), bytes.size(), state);
#endif
  return ~update_portable(bytes.data(), bytes.size(), state);
}

}  // namespace pinion
