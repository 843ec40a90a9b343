#include "pinion/codec/cuda/device_session.h"

#include <vector>

#include "pinion/codec/cuda/crc32c_parts.h"

namespace pinion::codec::cuda {

Result<void> check_device(int device, const DecodeLimits& limits) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) {
    cudaGetLastError();
    devices = 0;
  }
  if (device < 0 || device >= devices) {
    return Error{
        Errc::kUnsupported,
        "there is no CUDA device " + std::to_string(device) + ", " + std::to_string(devices) + " are here",
        "use the codec of the CPU"};
  }
  if (limits.max_tensor_bytes > kMostTensorBytes || limits.max_channels > kMostChannels)
    return Error{Errc::kUnsupported,
                 "the codec on a device takes tensors of at most 2^31 bytes and 2^20 channels", ""};
  return {};
}

LastOnDevice::~LastOnDevice() {
  if (copied_ != nullptr) cudaEventDestroy(copied_);
}

Result<void> LastOnDevice::reserve(std::size_t bytes) {
  PINION_TRY_VOID(memory_.reserve(bytes));
  if (copied_ != nullptr) return {};
  return check(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "no event");
}

bool LastOnDevice::matches(DType dtype, const Shape& shape) const {
  return checksum_ && dtype_ == dtype && rows_ == rows_of(shape) && channels_ == channels_of(shape);
}

Result<void> LastOnDevice::wait(cudaStream_t stream) const {
  if (copied_ == nullptr) return {};
  return check(cudaStreamWaitEvent(stream, copied_, 0), "cannot wait for the last tensor");
}

Result<void> LastOnDevice::keep(const std::byte* elements, DType dtype, const Shape& shape,
                                std::uint32_t checksum, cudaStream_t stream) {
  forget();
  PINION_TRY_VOID(wait(stream));  // another stream may still be copying
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * size_bytes(dtype);
  PINION_TRY_VOID(check(cudaMemcpyAsync(memory_.data(), elements, bytes, cudaMemcpyDeviceToDevice, stream),
                        "cannot keep the tensor"));
  return keep_memory(dtype, shape, checksum, stream);
}

Result<void> LastOnDevice::keep_memory(DType dtype, const Shape& shape, std::uint32_t checksum,
                                       cudaStream_t stream) {
  PINION_TRY_VOID(check(cudaEventRecord(copied_, stream), "cannot keep the tensor"));
  checksum_ = checksum;
  dtype_ = dtype;
  rows_ = rows_of(shape);
  channels_ = channels_of(shape);
  return {};
}

SideStream::~SideStream() {
  if (begin_ != nullptr) cudaEventDestroy(begin_);
  if (end_ != nullptr) cudaEventDestroy(end_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Result<void> SideStream::make() {
  PINION_TRY_VOID(check(cudaEventCreateWithFlags(&begin_, cudaEventDisableTiming), "no event"));
  PINION_TRY_VOID(check(cudaEventCreateWithFlags(&end_, cudaEventDisableTiming), "no event"));
  return check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "no stream");
}

Result<void> SideStream::begin_behind(cudaStream_t other) const {
  PINION_TRY_VOID(check(cudaEventRecord(begin_, other), "cannot order streams"));
  return check(cudaStreamWaitEvent(stream_, begin_, 0), "cannot order streams");
}

Result<void> SideStream::end_before(cudaStream_t other) const {
  PINION_TRY_VOID(check(cudaEventRecord(end_, stream_), "cannot order streams"));
  return check(cudaStreamWaitEvent(other, end_, 0), "cannot order streams");
}

Result<void> ChecksumTables::make() {
  std::vector<std::uint32_t> table(kCrcTableEntries);
  const auto powers = make_crc_powers();
  make_crc_table(powers.data(), table.data());
  const CrcPowersOfParts parts = make_crc_part_powers(powers.data(), kCrcPartWords);
  PINION_TRY_VOID(memory_.reserve(4 * table.size() + sizeof(parts)));
  PINION_TRY_VOID(check(cudaMemcpy(memory_.data(), table.data(), 4 * table.size(), cudaMemcpyHostToDevice),
                        "cannot copy tables"));
  return check(cudaMemcpy(memory_.data() + 4 * table.size(), &parts, sizeof(parts), cudaMemcpyHostToDevice),
               "cannot copy tables");
}

CrcTables ChecksumTables::tables() const {
  return {reinterpret_cast<const std::uint32_t*>(memory_.data()),
          reinterpret_cast<const CrcPowersOfParts*>(memory_.data() + std::size_t{4} * kCrcTableEntries)};
}

ElementsOf elements_of(DType dtype, const Shape& shape) {
  ElementsOf elements;
  elements.count = static_cast<std::uint64_t>(shape.elements());
  elements.channels = static_cast<std::uint32_t>(channels_of(shape));
  elements.width = static_cast<std::uint32_t>(size_bytes(dtype));
  elements.key_form = key_form(dtype);
  return elements;
}

}  // namespace pinion::codec::cuda
