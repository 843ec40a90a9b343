#pragma once
// What the tests of calibrated coding on a device share: a synthetic stream whose tensors and latents lie
// there.

#include "pinion/codec/calibrated/calibration_testing.h"
#include "pinion/codec/cuda/device_calibrated_codec.h"
#include "pinion/codec/cuda/device_testing.h"

namespace pinion::codec::testing {

// Latents of a step in device memory.
class LatentsThere {
 public:
  explicit LatentsThere(std::span<const float> values) : room_(values.size_bytes()), empty_(values.empty()) {
    EXPECT_EQ(cudaMemcpy(room_.span().data(), values.data(), values.size_bytes(), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  const float* data() const { return empty_ ? nullptr : reinterpret_cast<const float*>(room_.span().data()); }

 private:
  Room room_;
  bool empty_;
};

// A step of a stream there and here.
struct StepThere {
  explicit StepThere(const SyntheticStream::Step& step)
      : here(step), tensor(here.tensor), latents(here.latents), previous(here.previous_latents) {}

  DeviceStepContext context() const {
    return {here.sigma,      here.previous_sigma,        latents.data(),
            previous.data(), here.context().output_rows, here.grid};
  }

  const SyntheticStream::Step& here;
  OnDevice tensor;
  LatentsThere latents, previous;
};

struct CodedThere {
  Bytes frame;
  DeviceCalibratedFrame info;
};

inline Result<CodedThere> encode_there(DeviceCalibratedEncoder& encoder, const StepThere& step,
                                       void* stream = nullptr) {
  PINION_TRY(const DeviceCalibratedFrame info, encoder.encode(step.tensor.view(), step.context(), stream));
  PINION_TRY(const ByteSpan frame, encoder.copy_to_host(stream));
  return CodedThere{Bytes(frame.begin(), frame.end()), info};
}

inline Result<Tensor> decode_there(DeviceCalibratedDecoder& decoder, ByteSpan frame, const StepThere& step,
                                   void* stream = nullptr) {
  const Room room(step.here.tensor.bytes());
  PINION_TRY(const TensorView tensor, decoder.decode(frame, step.context(), room.span(), kGenerous, stream));
  return to_host(tensor);
}

// The largest difference of two tensors, and the largest size in the first.
struct Difference {
  double most = 0, size = 0;
};
inline Difference difference_of(const TensorView& a, const TensorView& b) {
  Difference difference;
  for (std::int64_t i = 0; i < a.elements(); ++i) {
    const double x = load_as_float(a.data, a.dtype, i), y = load_as_float(b.data, b.dtype, i);
    difference.most = std::max(difference.most, std::abs(x - y));
    difference.size = std::max(difference.size, std::abs(x));
  }
  return difference;
}

}  // namespace pinion::codec::testing
