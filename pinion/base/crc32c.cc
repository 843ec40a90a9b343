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
__attribute__((target("sse4.2"))) std::uint32_t update_sse42(const std::byte* data, std::size_t size,
                                                             std::uint32_t state) {
  std::uint64_t wide = state;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, data, sizeof(word));
    wide = _mm_crc32_u64(wide, word);
  }
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
