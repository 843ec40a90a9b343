#pragma once
// What encoders and decoders on a device share: the device, the tables of the checksum, and the copy of the
// last tensor of a stream with the event behind which it may be used. Used by one thread at a time.

#include <optional>

#include "pinion/codec/cuda/cuda_memory.h"
#include "pinion/codec/cuda/kernels.h"
#include "pinion/codec/frame_format.h"

namespace pinion::codec::cuda {

inline constexpr std::size_t kMostTensorBytes = std::size_t{1} << 31;
inline constexpr std::size_t kMostChannels = 1 << 20;
inline constexpr std::size_t kFrameSlack = 4096;  // room of a frame for what is not the body

// kUnsupported if there is no such device or the limits are above what kernels count to.
Result<void> check_device(int device, const DecodeLimits& limits);

// The tensor of mode 1, or of mode 3, that the next frame may refer to.
class LastOnDevice {
 public:
  LastOnDevice() = default;
  ~LastOnDevice();
  LastOnDevice(const LastOnDevice&) = delete;
  LastOnDevice& operator=(const LastOnDevice&) = delete;

  Result<void> reserve(std::size_t bytes);

  // Whether a tensor is held with that type, rows and channels.
  bool matches(DType dtype, const Shape& shape) const;
  std::optional<std::uint32_t> checksum() const { return checksum_; }
  const std::byte* elements() const { return memory_.data(); }
  std::byte* memory() { return memory_.data(); }  // for who writes the next tensor there
  void forget() { checksum_.reset(); }

  // What follows on the stream sees what was kept.
  Result<void> wait(cudaStream_t stream) const;
  // Copies the tensor, which the frame of that checksum holds.
  Result<void> keep(const std::byte* elements, DType dtype, const Shape& shape, std::uint32_t checksum,
                    cudaStream_t stream);
  // The same of a tensor that the stream's work so far has put into memory().
  Result<void> keep_memory(DType dtype, const Shape& shape, std::uint32_t checksum, cudaStream_t stream);

 private:
  DeviceMemory memory_;
  cudaEvent_t copied_ = nullptr;
  std::optional<std::uint32_t> checksum_;
  DType dtype_ = DType::kF32;
  std::int64_t rows_ = 0, channels_ = 0;
};

// A stream for what may go on beside the caller's.
class SideStream {
 public:
  SideStream() = default;
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  Result<void> make();
  cudaStream_t stream() const { return stream_; }

  // What follows here comes behind what is on the other one so far, and the other way round.
  Result<void> begin_behind(cudaStream_t other) const;
  Result<void> end_before(cudaStream_t other) const;

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

// The checksum's tables on the current device.
class ChecksumTables {
 public:
  Result<void> make();
  CrcTables tables() const;

 private:
  DeviceMemory memory_;
};

// The tensor as kernels of mode 1 take it.
ElementsOf elements_of(DType dtype, const Shape& shape);

}  // namespace pinion::codec::cuda
