#include "pinion/codec/cuda/crc32c_parts.h"
#include "pinion/codec/cuda/device_numbers.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/cuda/launch.cuh"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint64_t kBlockBytes = std::uint64_t{4} * kCrcPartWords * (kThreads / kWarp);

// A message in a buffer that begins at an aligned address.
struct Message {
  const std::byte* buffer;
  std::uint64_t begin, end;
};

// A lane's state over its words of the part that ends before word `end`. Zeros stand for what lies before the
// message: they change nothing.
template <bool kWithin>
__device__ std::uint32_t state_over_part(const Message& message, std::int64_t end, std::uint32_t lane,
                                         const std::uint32_t* stride) {
  const auto first = static_cast<std::int64_t>(message.begin / 4);
  const auto* const data = reinterpret_cast<const std::uint32_t*>(message.buffer);
  std::uint32_t state = 0;
  std::int64_t at = end - static_cast<std::int64_t>(kCrcPartWords) + lane;
#pragma unroll 8
  for (std::uint32_t row = 0; row < kCrcPartWords / kWarp; ++row, at += kWarp) {
    std::uint32_t word = 0;
    if (kWithin || at >= first) word = __ldg(data + at);
    if (!kWithin && at >= first) word = crc_word(word, static_cast<std::uint64_t>(at) * 4, message.begin);
    state = crc_over_stride(state, [&](std::uint32_t entry) { return stride[entry * kWarp + lane]; }) ^ word;
  }
  return state;
}

// Adds the parts of this block's warps to `sum`. Parts are counted from the end of the message, so that only
// the first one is broken.
__device__ void add_parts(const CrcTables& tables, const Message& message, std::uint32_t* stride,
                          std::uint32_t* sum) {
  const std::uint32_t lane = threadIdx.x % kWarp;
  const auto first = static_cast<std::int64_t>(message.begin / 4),
             words = static_cast<std::int64_t>(message.end / 4);
  const std::uint32_t first_part = blockIdx.x * (kThreads / kWarp);
  if (words - std::int64_t{first_part} * kCrcPartWords <= first) return;  // the whole block
  for (std::uint32_t i = threadIdx.x; i < kCrcTableEntries * kWarp; i += kThreads)
    stride[i] = __ldg(tables.stride + i / kWarp);
  __syncthreads();
  const std::uint32_t part = first_part + threadIdx.x / kWarp;
  const std::int64_t end = words - std::int64_t{part} * kCrcPartWords;
  if (end <= first) return;
  const bool within = end - static_cast<std::int64_t>(kCrcPartWords) > first + 1;
  std::uint32_t state = within ? state_over_part<true>(message, end, lane, stride)
                               : state_over_part<false>(message, end, lane, stride);
  state = crc_product(state, tables.parts->of_lane[lane]);
  for (int step = 16; step > 0; step /= 2) state ^= __shfl_xor_sync(0xffffffffu, state, step);
  const std::uint32_t behind =
      crc_product(tables.parts->low[part % kCrcPartDigit], tables.parts->high[part / kCrcPartDigit]);
  if (lane == 0) atomicXor(sum, crc_product(state, behind));
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

// Writes the outcome where the host looks for it, its serial last.
__device__ void tell_host(const EncodeJob& job) {
  const EncodeOutcome told = *job.outcome;
  volatile std::uint32_t* const to = reinterpret_cast<volatile std::uint32_t*>(job.outcome_on_host);
  constexpr std::uint32_t kWords = offsetof(EncodeOutcome, serial) / 4;
  static_assert(offsetof(EncodeOutcome, serial) + 4 == sizeof(EncodeOutcome));
  for (std::uint32_t i = 0; i < kWords; ++i) to[i] = reinterpret_cast<const std::uint32_t*>(&told)[i];
  __threadfence_system();
  to[kWords] = ++job.kept->serial;
}

__global__ void __launch_bounds__(kThreads, 4) checksum(EncodeJob job) {
  wait_for_earlier_work();
  __shared__ std::uint32_t stride[kCrcTableEntries * kWarp];  // a bank for each lane
  EncodeOutcome* const outcome = job.outcome;
  const Message message{job.frame, outcome->begin, outcome->begin + outcome->frame_bytes - 4};
  add_parts(job.crc, message, stride, &outcome->crc_sum);
  if (!is_last_block(&outcome->parts_done) || threadIdx.x != 0) return;
  const std::uint32_t crc = finished(message, atomicXor(&outcome->crc_sum, 0u));
  for (std::uint32_t i = 0; i < 4; ++i)
    job.frame[message.end + i] = static_cast<std::byte>(crc >> (8 * i) & 255);
  outcome->checksum = crc;
  if (job.kept == nullptr) return;
  job.kept->checksum = crc;
  tell_host(job);
}

__global__ void __launch_bounds__(kThreads, 4)
    verification(CrcTables tables, const std::byte* buffer, std::uint64_t begin, std::uint64_t frame_bytes,
                 DecodeOutcome* outcome, DecodeOutcome* outcome_on_host) {
  wait_for_earlier_work();
  __shared__ std::uint32_t stride[kCrcTableEntries * kWarp];  // a bank for each lane
  const Message message{buffer, begin, begin + frame_bytes - 4};
  add_parts(tables, message, stride, &outcome->crc_sum);
  if (!is_last_block(&outcome->parts_done) || threadIdx.x != 0) return;
  const std::uint32_t crc = finished(message, atomicExch(&outcome->crc_sum, 0u));
  std::uint32_t stored = 0;
  for (std::uint32_t i = 0; i < 4; ++i)
    stored |= static_cast<std::uint32_t>(buffer[message.end + i]) << (8 * i);
  outcome->wrong_checksum = crc != stored;
  outcome->parts_done = 0;
  if (outcome_on_host != nullptr) tell_host(*outcome, outcome_on_host);
}

std::uint32_t blocks_for(std::uint64_t bytes) {
  return static_cast<std::uint32_t>((bytes + 16) / kBlockBytes + 1);
}

}  // namespace

void launch_checksum(const EncodeJob& job, std::uint64_t most_bytes, cudaStream_t stream) {
  start_behind(checksum, blocks_for(most_bytes), kThreads, 0, stream, job);
}

void launch_verification(const CrcTables& tables, const std::byte* frame, std::uint64_t frame_bytes,
                         DecodeOutcome* outcome, DecodeOutcome* outcome_on_host, cudaStream_t stream) {
  const std::uint64_t begin = reinterpret_cast<std::uintptr_t>(frame) % 4;
  start_behind(verification, blocks_for(begin + frame_bytes), kThreads, 0, stream, tables, frame - begin,
               begin, frame_bytes, outcome, outcome_on_host);
}

}  // namespace pinion::codec::cuda
