#pragma once
// Bit streams (docs/format.md §1) written by all threads of a block, into words that are 0 at first.

#include <cstdint>

#include "pinion/codec/cuda/device_numbers.cuh"

namespace pinion::codec::cuda {

inline constexpr std::uint32_t kRiceParameters = 8;

// At most 24 bits, by one thread.
__device__ inline void put_packed(std::uint32_t* words, std::uint32_t at, std::uint32_t value) {
  atomicOr(words + at / 32, value << at % 32);
  if (at % 32 != 0 && value >> (32 - at % 32) != 0) atomicOr(words + at / 32 + 1, value >> (32 - at % 32));
}

// What a common Rice parameter and the numbers take.
struct RiceChoice {
  std::uint32_t low_bits, bits;
};

// What each parameter takes, and the largest number: some parameters cannot write it.
struct RiceTotals {
  std::uint32_t bits[kRiceParameters];
  std::uint32_t largest;
};

// The parameter that suits value(0), value(1), …, at most 2^16 of them. By all threads; all get it.
template <class Value>
__device__ RiceChoice choose_rice(std::uint32_t count, const Value& value, RiceTotals& totals) {
  constexpr std::uint32_t kMostOnes = 40;
  __syncthreads();
  if (threadIdx.x < kRiceParameters) totals.bits[threadIdx.x] = 0;
  if (threadIdx.x == 0) totals.largest = 0;
  __syncthreads();
  std::uint32_t sums[kRiceParameters] = {}, largest = 0;
  for (std::uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const std::uint32_t number = value(i);
    largest = max(largest, number);
#pragma unroll
    for (std::uint32_t low = 0; low < kRiceParameters; ++low) sums[low] += (number >> low) + 1 + low;
  }
#pragma unroll
  for (std::uint32_t low = 0; low < kRiceParameters; ++low) {
    const std::uint32_t sum = warp_sum(sums[low]);
    if (threadIdx.x % 32 == 0) atomicAdd(&totals.bits[low], sum);
  }
  if (largest > 0) atomicMax(&totals.largest, largest);
  __syncthreads();
  RiceChoice choice{kRiceParameters - 1, totals.bits[kRiceParameters - 1]};
  for (std::uint32_t low = 0; low + 1 < kRiceParameters; ++low) {
    if (totals.largest >> low <= kMostOnes && totals.bits[low] < choice.bits)
      choice = {low, totals.bits[low]};
  }
  choice.bits += 3;
  return choice;
}

// Writes the parameter in three bits, then each number. Returns where they end. `counts` has an entry for
// each warp.
template <class Value>
__device__ std::uint32_t pack_rice(std::uint32_t* words, std::uint32_t begin, std::uint32_t count,
                                   const Value& value, std::uint32_t low_bits, std::uint32_t* counts) {
  if (threadIdx.x == 0) put_packed(words, begin, low_bits);
  begin += 3;
  for (std::uint32_t first = 0; first < count; first += blockDim.x) {
    const std::uint32_t i = first + threadIdx.x;
    const bool mine = i < count;
    const std::uint32_t number = mine ? value(i) : 0, ones = number >> low_bits;
    std::uint32_t total = 0;
    std::uint32_t at = begin + block_sum_before(mine ? ones + 1 + low_bits : 0u, counts, total);
    begin += total;
    if (!mine) continue;
    for (std::uint32_t left = ones; left > 0;) {
      const std::uint32_t some = min(left, 24u);
      put_packed(words, at, (1u << some) - 1);
      at += some, left -= some;
    }
    put_packed(words, at, (number & ((1u << low_bits) - 1)) << 1);  // the zero, then the low bits
  }
  return begin;
}

}  // namespace pinion::codec::cuda
