#pragma once
// Magnitudes of indices in bins, by which classes are priced: small ones exactly, larger ones by half
// octaves. constexpr functions for code on any processor.

#include <bit>
#include <cstdint>

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kExactMagnitudes = 12;
inline constexpr std::uint32_t kMagnitudeBins = 58;  // for magnitudes up to 2^26

// floor(log2 n), n ≥ 1.
constexpr std::uint32_t floor_log2(std::uint32_t n) {
#ifdef __CUDA_ARCH__
  return 31u - static_cast<std::uint32_t>(__clz(static_cast<int>(n)));
#else
  return static_cast<std::uint32_t>(std::bit_width(n)) - 1;
#endif
}

constexpr std::uint32_t magnitude_bin(std::uint32_t magnitude) {
  if (magnitude < kExactMagnitudes) return magnitude;
  const std::uint32_t octave = floor_log2(magnitude), upper = magnitude >> (octave - 1) & 1;
  return kExactMagnitudes + 2 * octave + upper - 7;  // 12 to 15 are the upper half of octave 3
}

// The least magnitude of a bin; that of kMagnitudeBins is the end.
constexpr std::uint32_t bin_begin(std::uint32_t bin) {
  if (bin <= kExactMagnitudes) return bin;
  const std::uint32_t half_octaves = bin - kExactMagnitudes + 7;
  return (2u + half_octaves % 2) << (half_octaves / 2 - 1);
}

}  // namespace pinion::codec::cuda
