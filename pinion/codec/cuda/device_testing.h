#pragma once
// What the tests of the codec on a device share: memory there, and whether there is one.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include "pinion/codec/codec_testing.h"
#include "pinion/codec/cuda/device_codec.h"

namespace pinion::codec::testing {

inline bool has_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

#define PINION_SKIP_WITHOUT_DEVICE() \
  if (!testing::has_device()) GTEST_SKIP() << "no CUDA device here: nothing of the kernels was tested"

inline constexpr DecodeLimits kDeviceLimits = {.max_tensor_bytes = 16u << 20};

// A copy of a tensor on device 0. Room behind it is not there, so that checkers of memory see who reads
// beyond.
class OnDevice {
 public:
  explicit OnDevice(const TensorView& tensor) : view_(tensor) {
    EXPECT_EQ(cudaMalloc(&data_, std::max<std::size_t>(tensor.bytes(), 1)), cudaSuccess);
    EXPECT_EQ(cudaMemcpy(data_, tensor.data, tensor.bytes(), cudaMemcpyHostToDevice), cudaSuccess);
    view_.data = static_cast<const std::byte*>(data_);
    view_.device = {Device::Kind::kCuda, 0};
  }
  ~OnDevice() { cudaFree(data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  const TensorView& view() const { return view_; }

 private:
  TensorView view_;
  void* data_ = nullptr;
};

class Room {
 public:
  explicit Room(std::size_t bytes) : bytes_(bytes) {
    EXPECT_EQ(cudaMalloc(&data_, std::max<std::size_t>(bytes, 1)), cudaSuccess);
  }
  ~Room() { cudaFree(data_); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  std::span<std::byte> span() const { return {static_cast<std::byte*>(data_), bytes_}; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

inline Tensor to_host(const TensorView& view) {
  Tensor tensor = Tensor::empty(view.dtype, view.shape);
  EXPECT_EQ(cudaMemcpy(tensor.mutable_data(), view.data, view.bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
  return tensor;
}

inline std::unique_ptr<DeviceEncoder> device_encoder(Mode mode, bool predicts = true) {
  return DeviceEncoder::create(mode, kDeviceLimits, {.predicts = predicts}).value();
}

inline std::unique_ptr<DeviceDecoder> device_decoder() {
  return DeviceDecoder::create(kDeviceLimits).value();
}

inline Result<Bytes> encode_there(DeviceEncoder& encoder, const TensorView& tensor, void* stream = nullptr) {
  const OnDevice there(tensor);
  PINION_TRY_VOID(encoder.encode(there.view(), stream));
  PINION_TRY(const ByteSpan frame, encoder.copy_to_host(stream));
  return Bytes(frame.begin(), frame.end());
}

inline Result<Tensor> decode_there(DeviceDecoder& decoder, ByteSpan frame, std::size_t bytes,
                                   void* stream = nullptr) {
  const Room room(bytes);
  PINION_TRY(const TensorView tensor, decoder.decode(frame, room.span(), stream));
  return to_host(tensor);
}

}  // namespace pinion::codec::testing
