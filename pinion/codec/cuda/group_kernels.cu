// Groups of 32 elements. Where rows are whole groups a thread takes 8 elements and four threads a group, in
// one pass; else scales come first, then bytes, each thread one. Compiled without fused operations.

#include "pinion/codec/cuda/device_floats.cuh"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/groups/group_arithmetic.h"

namespace pinion::codec::cuda {
namespace {

constexpr std::uint32_t kThreads = 256;
constexpr std::uint32_t kGroup = 32;  // elements
constexpr std::uint32_t kPart = 8;    // elements of a thread
constexpr std::uint16_t kInfinity = 0x7f80;

__device__ float most_of(const GroupJob& job) { return job.is_int4 ? 7.0f : 127.0f; }

// Sizes of floats are in the order of their bits.
__device__ std::uint32_t size_bits(float value) { return __float_as_uint(value) & 0x7fffffffu; }

template <class Type>
__device__ void load_part(const std::byte* from, std::uint64_t element, float* values) {
  using Word = typename Type::Word;
  alignas(16) Word words[kPart];
  const auto* const source = reinterpret_cast<const uint4*>(from + element * sizeof(Word));
  for (std::uint32_t i = 0; i < sizeof(words) / sizeof(uint4); ++i)
    reinterpret_cast<uint4*>(words)[i] = __ldg(source + i);
  for (std::uint32_t i = 0; i < kPart; ++i) values[i] = Type::widen(words[i]);
}

// Eight bytes, or four, where they may be stored at once.
__device__ void store_bytes(std::byte* to, std::uint64_t bytes, std::uint32_t count) {
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  if (count == 8 && address % 8 == 0) {
    *reinterpret_cast<std::uint64_t*>(to) = bytes;
  } else if (count == 4 && address % 4 == 0) {
    *reinterpret_cast<std::uint32_t*>(to) = static_cast<std::uint32_t>(bytes);
  } else {
    for (std::uint32_t i = 0; i < count; ++i) to[i] = static_cast<std::byte>(bytes >> (8 * i) & 255);
  }
}

__device__ std::uint64_t load_bytes(const std::byte* from, std::uint32_t count) {
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  if (count == 8 && address % 8 == 0) return *reinterpret_cast<const std::uint64_t*>(from);
  if (count == 4 && address % 4 == 0) return *reinterpret_cast<const std::uint32_t*>(from);
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) bytes |= static_cast<std::uint64_t>(from[i]) << (8 * i);
  return bytes;
}

__device__ void store_scale(std::byte* to, std::uint16_t scale) {
  to[0] = static_cast<std::byte>(scale & 255);
  to[1] = static_cast<std::byte>(scale >> 8);
}

__device__ std::uint16_t load_scale(const std::byte* from) {
  return static_cast<std::uint16_t>(static_cast<std::uint32_t>(from[0]) | static_cast<std::uint32_t>(from[1])
                                                                              << 8);
}

__device__ std::byte* integers_of(std::byte* body, const GroupJob& job) {
  return body + 2 * job.rows * job.groups;
}

template <class Type>
__global__ void encode_whole_groups(GroupJob job) {
  const std::uint64_t thread = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::uint64_t element = thread * kPart;
  // Four threads share a group, and their number is a multiple of four, so all of them stay or go.
  const bool active = element < job.rows * job.channels;
  float values[kPart] = {};
  if (active) load_part<Type>(job.from, element, values);
  std::uint32_t largest = 0;
  for (std::uint32_t i = 0; i < kPart; ++i) largest = max(largest, size_bits(values[i]));
  largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
  largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
  if (!active) return;
  if (largest >= std::uint32_t{kInfinity} << 16) *job.flag = 1;
  const float most = most_of(job);
  const std::uint16_t scale = group_scale(__uint_as_float(largest), most);
  const float inverse = inverse_of_scale(scale);
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < kPart; ++i) {
    const auto integer = static_cast<std::uint8_t>(group_integer(values[i], inverse, most));
    bytes |= job.is_int4 ? std::uint64_t{integer & 15u} << (4 * i) : std::uint64_t{integer} << (8 * i);
  }
  if (thread % 4 == 0) store_scale(job.to + 2 * (element / kGroup), scale);
  store_bytes(integers_of(job.to, job) + (job.is_int4 ? element / 2 : element), bytes, job.is_int4 ? 4 : 8);
}

template <class Type>
__device__ float value_at(const GroupJob& job, std::uint64_t element) {
  return Type::widen(__ldg(reinterpret_cast<const typename Type::Word*>(job.from) + element));
}

__device__ std::uint64_t group_of(const GroupJob& job, std::uint64_t element) {
  return element / job.channels * job.groups + element % job.channels / kGroup;
}

template <class Type>
__global__ void encode_scales(GroupJob job) {
  const std::uint64_t group = (std::uint64_t{blockIdx.x} * kThreads + threadIdx.x) / 32;
  if (group >= job.rows * job.groups) return;  // the whole warp
  const std::uint32_t lane = threadIdx.x % 32;
  const auto channel = static_cast<std::uint32_t>(group % job.groups * kGroup + lane);
  std::uint32_t largest = 0;
  if (channel < job.channels)
    largest = size_bits(value_at<Type>(job, group / job.groups * job.channels + channel));
  for (int step = 16; step > 0; step /= 2)
    largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  if (lane != 0) return;
  if (largest >= std::uint32_t{kInfinity} << 16) *job.flag = 1;
  store_scale(job.to + 2 * group, group_scale(__uint_as_float(largest), most_of(job)));
}

template <class Type>
__device__ std::uint32_t integer_at(const GroupJob& job, std::uint64_t element) {
  const std::uint16_t scale = load_scale(job.to + 2 * group_of(job, element));
  return static_cast<std::uint8_t>(
      group_integer(value_at<Type>(job, element), inverse_of_scale(scale), most_of(job)));
}

template <class Type>
__global__ void encode_integers(GroupJob job) {
  const std::uint64_t at = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::uint64_t elements = job.rows * job.channels;
  if (at >= (job.is_int4 ? (elements + 1) / 2 : elements)) return;
  std::uint32_t byte = 0;
  if (job.is_int4) {
    byte = integer_at<Type>(job, 2 * at) & 15;
    if (2 * at + 1 < elements) byte |= integer_at<Type>(job, 2 * at + 1) << 4;
  } else {
    byte = integer_at<Type>(job, at);
  }
  integers_of(job.to, job)[at] = static_cast<std::byte>(byte & 255);
}

// The integer of 4 bits that begins at that bit.
__device__ std::int8_t four_bits(std::uint64_t bytes, std::uint32_t bit) {
  return static_cast<std::int8_t>(static_cast<std::int8_t>(bytes >> bit << 4) >> 4);
}

template <class Type>
__global__ void decode_whole_groups(GroupJob job) {
  using Word = typename Type::Word;
  const std::uint64_t element = (std::uint64_t{blockIdx.x} * kThreads + threadIdx.x) * kPart;
  if (element >= job.rows * job.channels) return;
  const std::uint16_t scale = load_scale(job.from + 2 * (element / kGroup));
  if (scale >= kInfinity) {
    *job.flag = 1;
    return;
  }
  const std::byte* const integers = job.from + 2 * job.rows * job.groups;
  const std::uint64_t bytes =
      load_bytes(integers + (job.is_int4 ? element / 2 : element), job.is_int4 ? 4 : 8);
  alignas(16) Word words[kPart];
  for (std::uint32_t i = 0; i < kPart; ++i) {
    const std::int8_t integer =
        job.is_int4 ? four_bits(bytes, 4 * i) : static_cast<std::int8_t>(bytes >> (8 * i) & 255);
    words[i] = Type::narrow(group_value(integer, scale_value(scale), Type::kLimit));
  }
  auto* const to = reinterpret_cast<uint4*>(job.to + element * sizeof(Word));
  for (std::uint32_t i = 0; i < sizeof(words) / sizeof(uint4); ++i)
    to[i] = reinterpret_cast<const uint4*>(words)[i];
}

template <class Type>
__global__ void decode_elements(GroupJob job) {
  const std::uint64_t element = std::uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::uint64_t elements = job.rows * job.channels;
  if (element >= elements) return;
  const std::uint16_t scale = load_scale(job.from + 2 * group_of(job, element));
  const std::byte* const integers = job.from + 2 * job.rows * job.groups;
  const auto byte = static_cast<std::uint32_t>(integers[job.is_int4 ? element / 2 : element]);
  const bool has_padding = job.is_int4 && elements % 2 != 0 && element == elements - 1;
  if (scale >= kInfinity || (has_padding && byte >> 4 != 0)) {
    *job.flag = 1;
    return;
  }
  const std::int8_t integer =
      job.is_int4 ? four_bits(byte, 4 * (element % 2)) : static_cast<std::int8_t>(byte);
  reinterpret_cast<typename Type::Word*>(job.to)[element] =
      Type::narrow(group_value(integer, scale_value(scale), Type::kLimit));
}

std::uint32_t blocks_for(std::uint64_t threads) {
  return static_cast<std::uint32_t>((threads + kThreads - 1) / kThreads);
}

// Rows of whole groups, and a tensor that is read and written 16 bytes at a time.
bool takes_whole_groups(const GroupJob& job, const std::byte* tensor) {
  return job.channels % kGroup == 0 && reinterpret_cast<std::uintptr_t>(tensor) % 16 == 0;
}

template <class Type>
void encode_as(const GroupJob& job, cudaStream_t stream) {
  const std::uint64_t elements = job.rows * job.channels;
  if (takes_whole_groups(job, job.from)) {
    encode_whole_groups<Type><<<blocks_for(elements / kPart), kThreads, 0, stream>>>(job);
    return;
  }
  encode_scales<Type><<<blocks_for(job.rows * job.groups * 32), kThreads, 0, stream>>>(job);
  const std::uint64_t bytes = job.is_int4 ? (elements + 1) / 2 : elements;
  encode_integers<Type><<<blocks_for(bytes), kThreads, 0, stream>>>(job);
}

template <class Type>
void decode_as(const GroupJob& job, cudaStream_t stream) {
  const std::uint64_t elements = job.rows * job.channels;
  if (takes_whole_groups(job, job.to)) {
    decode_whole_groups<Type><<<blocks_for(elements / kPart), kThreads, 0, stream>>>(job);
  } else {
    decode_elements<Type><<<blocks_for(elements), kThreads, 0, stream>>>(job);
  }
}

}  // namespace

void launch_group_encoding(const GroupJob& job, cudaStream_t stream) {
  switch (static_cast<DType>(job.dtype)) {
    case DType::kF32:
      return encode_as<F32>(job, stream);
    case DType::kF16:
      return encode_as<F16>(job, stream);
    default:
      return encode_as<BF16>(job, stream);
  }
}

void launch_group_decoding(const GroupJob& job, cudaStream_t stream) {
  switch (static_cast<DType>(job.dtype)) {
    case DType::kF32:
      return decode_as<F32>(job, stream);
    case DType::kF16:
      return decode_as<F16>(job, stream);
    default:
      return decode_as<BF16>(job, stream);
  }
}

}  // namespace pinion::codec::cuda
