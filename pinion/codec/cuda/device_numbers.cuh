#pragma once
// Elements in device memory as numbers, and sums over warps and blocks.

#include "pinion/codec/cuda/decode_jobs.h"

namespace pinion::codec::cuda {

template <class Word>
__device__ inline Word load_element(const std::byte* elements, std::uint64_t i) {
  return __ldg(reinterpret_cast<const Word*>(elements) + i);
}

template <class Word>
__device__ inline Word number_as(NumberForm form, Word bits, Word before) {
  if (form == NumberForm::kPredicted) return number_of<NumberForm::kPredicted>(bits, before);
  if (form == NumberForm::kRotated) return number_of<NumberForm::kRotated>(bits, before);
  return bits;
}

// The byte of a number that plane `plane` holds.
template <class Word>
__device__ inline std::uint32_t byte_of(Word number, std::uint32_t plane) {
  return static_cast<std::uint32_t>(number >> (8 * (sizeof(Word) - 1 - plane))) & 255u;
}

// The byte of a key frame's number: the element turned right by `turn`.
template <class Word>
__device__ std::uint32_t key_byte(Word bits, std::uint32_t turn) {
  std::uint32_t wide = bits;
  if constexpr (sizeof(Word) == 1) wide *= 0x01010101u;
  if constexpr (sizeof(Word) == 2) wide *= 0x00010001u;
  return __funnelshift_r(wide, wide, turn) & 255u;
}

template <class Word>
__device__ inline std::uint32_t key_turn(NumberForm key_form, std::uint32_t plane) {
  const std::uint32_t rotated = key_form == NumberForm::kRotated ? 1 : 0;
  return (kWordBits<Word> + 8 * (sizeof(Word) - 1 - plane) - rotated) % kWordBits<Word>;
}

// The context that an element gives to the one after it in time.
template <class Word>
__device__ inline std::uint32_t context_of(NumberForm key_form, Word before) {
  return byte_of(number_as(key_form, before, Word{0}), 0);
}

// Whether a plane has classes, as far as shape and prediction tell.
constexpr bool has_classes(const ElementsOf& elements, bool is_predicted) {
  constexpr std::uint64_t kLeastElements = 512, kLeastRows = 16;
  if (elements.count < kLeastElements) return false;
  return is_predicted || (elements.channels > 1 && elements.count / elements.channels >= kLeastRows);
}

// What a frame's first kernel does besides.
__device__ inline void clear(const EncodeJob& job) {
  const std::uint32_t block = blockIdx.y * gridDim.x + blockIdx.x,
                      threads = gridDim.x * gridDim.y * blockDim.x;
  for (std::size_t i = block * blockDim.x + threadIdx.x; i < job.cleared_bytes / sizeof(uint4); i += threads)
    reinterpret_cast<uint4*>(job.outcome)[i] = uint4{};
}

template <class T>
__device__ inline T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Sum over the lanes before this one.
template <class T>
__device__ inline T warp_sum_before(T value, std::uint32_t lane) {
  T sum = value;
  for (std::uint32_t step = 1; step < 32; step *= 2) {
    const T other = __shfl_up_sync(0xffffffffu, sum, step);
    if (lane >= step) sum += other;
  }
  return sum - value;
}

// Sum over the block, to all its threads. `scratch` has an entry for each warp.
template <class T>
__device__ inline T block_sum(T value, T* scratch) {
  const std::uint32_t warps = blockDim.x / 32;
  value = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = 0;
  for (std::uint32_t w = 0; w < warps; ++w) sum += scratch[w];
  return sum;
}

// Sum over the threads before this one; `total` is that over the block.
template <class T>
__device__ inline T block_sum_before(T value, T* scratch, T& total) {
  const std::uint32_t warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const T before = warp_sum_before(value, threadIdx.x % 32);
  __syncthreads();
  if (threadIdx.x % 32 == 31) scratch[warp] = before + value;
  __syncthreads();
  T sum = 0;
  total = 0;
  for (std::uint32_t w = 0; w < warps; ++w) {
    if (w == warp) sum = total;
    total += scratch[w];
  }
  return sum + before;
}

// By one thread, when everything of a frame is done: writes the outcome where the host looks for it, its
// serial last, and makes it as it was before.
__device__ inline void tell_host(DecodeOutcome& outcome, DecodeOutcome* on_host) {
  volatile DecodeOutcome* const to = on_host;
  to->wrong_checksum = outcome.wrong_checksum;
  to->broken = atomicExch(&outcome.broken, 0u);
  outcome.blocks_done = 0;
  const std::uint32_t serial = ++outcome.serial;
  __threadfence_system();
  to->serial = serial;
}

// By all threads of a block of the last kernel, when it is done: the last block tells the host.
__device__ inline void finish(DecodeOutcome& outcome, DecodeOutcome* on_host) {
  __syncthreads();
  if (threadIdx.x != 0) return;
  __threadfence();
  if (atomicAdd(&outcome.blocks_done, 1u) != gridDim.x * gridDim.y - 1) return;
  __threadfence();
  tell_host(outcome, on_host);
}

}  // namespace pinion::codec::cuda
