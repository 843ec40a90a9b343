#include "pinion/codec/cuda/crc32c_parts.h"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kWordsPerLane = 64;
constexpr std::uint64_t kWarpWords = std::uint64_t{kWarp} * kWordsPerLane;  // that a warp takes
constexpr std::uint64_t kBlockBytes = 4 * kWarpWords * (kThreads / kWarp);

// A message in a buffer that begins at an aligned address.
struct Message {
  const std::byte* buffer;
  std::uint64_t begin, end;
};

// Adds this block's part of the whole words of the message to `sum`. Parts are counted from the end, so that
// only the first one of the message is broken: zeros before a message change nothing.
__device__ void add_part(const CrcTables& tables, const Message& message, std::uint32_t* stride,
                         std::uint32_t* sum) {
  for (std::uint32_t i = threadIdx.x; i < kCrcTableEntries; i += blockDim.x) stride[i] = tables.stride[i];
  __syncthreads();
  const std::uint32_t lane = threadIdx.x % kWarp;
  const auto words = static_cast<std::int64_t>(message.end / 4);
  const std::uint64_t part = std::uint64_t{blockIdx.x} * (kThreads / kWarp) + threadIdx.x / kWarp;
  const auto first = static_cast<std::int64_t>(message.begin / 4);
  const std::int64_t end = words - static_cast<std::int64_t>(part * kWarpWords);
  if (end <= first) return;
  const auto* const data = reinterpret_cast<const std::uint32_t*>(message.buffer);
  std::uint32_t state = 0;
  std::int64_t at = end - static_cast<std::int64_t>(kWarpWords) + lane;
#pragma unroll 8
  for (std::uint32_t row = 0; row < kWordsPerLane; ++row, at += kWarp) {
    std::uint32_t word = at < first ? 0u : data[at];
    if (at >= first && at <= first + 1)
      word = crc_word(word, static_cast<std::uint64_t>(at) * 4, message.begin);
    state = crc_over_stride(state, stride) ^ word;
  }
  state = crc_product(state, crc_power(32 * (kWarp - lane), tables.powers));
  for (int step = 16; step > 0; step /= 2) state ^= __shfl_xor_sync(0xffffffffu, state, step);
  // What lies behind the part: x^(32 words), as a product that the lanes share.
  const std::uint64_t behind = 32 * part * kWarpWords;
  std::uint32_t power = kCrcOne;
  for (std::uint32_t k = lane; k < kCrcPowers; k += kWarp) {
    if ((behind >> k & 1) != 0) power = crc_product(power, tables.powers[k]);
  }
  for (int step = 16; step > 0; step /= 2)
    power = crc_product(power, __shfl_xor_sync(0xffffffffu, power, step));
  if (lane == 0) atomicXor(sum, crc_product(state, power));
}

// Whether this block is the last one to come here.
__device__ bool is_last_block(std::uint32_t* done) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(done, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// The CRC from the sum over the words and the bytes behind the last whole one. Messages have four bytes or
// more before the end of their last word.
__device__ std::uint32_t finished(const Message& message, std::uint32_t sum) {
  for (std::uint64_t at = message.end / 4 * 4; at < message.end; ++at)
    sum = crc_with_byte(sum, static_cast<std::uint32_t>(message.buffer[at]));
  return ~sum;
}

__global__ void checksum(CrcTables tables, std::byte* buffer, EncodeOutcome* outcome) {
  __shared__ std::uint32_t stride[kCrcTableEntries];
  const Message message{buffer, outcome->begin, outcome->begin + outcome->frame_bytes - 4};
  add_part(tables, message, stride, &outcome->crc_sum);
  if (!is_last_block(&outcome->parts_done) || threadIdx.x != 0) return;
  const std::uint32_t crc = finished(message, atomicXor(&outcome->crc_sum, 0u));
  for (std::uint32_t i = 0; i < 4; ++i)
    buffer[message.end + i] = static_cast<std::byte>(crc >> (8 * i) & 255);
  outcome->checksum = crc;
}

__global__ void verification(CrcTables tables, const std::byte* buffer, std::uint64_t begin,
                             std::uint64_t frame_bytes, DecodeOutcome* outcome) {
  __shared__ std::uint32_t stride[kCrcTableEntries];
  const Message message{buffer, begin, begin + frame_bytes - 4};
  add_part(tables, message, stride, &outcome->crc_sum);
  if (!is_last_block(&outcome->parts_done) || threadIdx.x != 0) return;
  const std::uint32_t crc = finished(message, atomicXor(&outcome->crc_sum, 0u));
  std::uint32_t stored = 0;
  for (std::uint32_t i = 0; i < 4; ++i)
    stored |= static_cast<std::uint32_t>(buffer[message.end + i]) << (8 * i);
  outcome->wrong_checksum = crc != stored;
}

std::uint32_t blocks_for(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + 16) / kBlockBytes + 1);
}

}  // namespace

void launch_checksum(const CrcTables& tables, std::byte* buffer, EncodeOutcome* outcome,
                     std::uint64_t most_bytes, cudaStream_t stream) {
  checksum<<<blocks_for(most_bytes), kThreads, 0, stream>>>(tables, buffer, outcome);
}

void launch_verification(const CrcTables& tables, const std::byte* frame, std::uint64_t frame_bytes,
                         DecodeOutcome* outcome, cudaStream_t stream) {
  const std::uint64_t begin = reinterpret_cast<std::uintptr_t>(frame) % 4;
  verification<<<blocks_for(begin + frame_bytes), kThreads, 0, stream>>>(tables, frame - begin, begin,
                                                                         frame_bytes, outcome);
}

}  // namespace pinion::codec::cuda
