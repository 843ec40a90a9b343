#pragma once
// The two ends of a stream as `pinion codec` drives them, on the CPU or on a CUDA device, and how long each
// call took.
//
// One object is used by one thread at a time, steps in order.

#include <memory>
#include <vector>

#include "pinion/base/device.h"
#include "pinion/codec/step_stream.h"

namespace pinion::cli {

class SendingEnd {
 public:
  struct Sent {
    codec::EncodedFrame encoded;
    double ms = 0;  // on a device: from a tensor to a frame in its memory, once everything has run before
  };
  virtual ~SendingEnd() = default;
  virtual Result<Sent> encode(const Tensor& tensor, const codec::StepContext& context) = 0;
};

class ReceivingEnd {
 public:
  struct Received {
    Tensor tensor;  // on the CPU
    double ms = 0;  // on a device: from a frame to a tensor in its memory, likewise
  };
  virtual ~ReceivingEnd() = default;
  virtual Result<void> add_basis(ByteSpan basis, const codec::BasisLimits& limits) = 0;
  virtual Result<Received> decode(ByteSpan frame, const codec::StepContext& context,
                                  const codec::DecodeLimits& limits) = 0;
};

// How large the tensors of a stream are at most.
struct LargestTensor {
  std::size_t bytes = 0, channels = 0, rows = 0;

  void take(DType dtype, const Shape& shape);
};

// Refuses a device that is not here and, of the profiles that are to be encoded there, those that it cannot.
// kInvalidArgument, kUnsupported; nothing is refused on the CPU.
Result<void> check_codec_device(Device device, const std::vector<codec::Profile>& encoded);

// `bases` outlives the end.
Result<std::unique_ptr<SendingEnd>> make_sending_end(Device device, codec::SenderSettings settings,
                                                     const codec::BasisStore& bases);

// `calibration` may be null: calibrated frames are then refused. A device takes no larger tensors than
// `largest`.
Result<std::unique_ptr<ReceivingEnd>> make_receiving_end(
    Device device, std::shared_ptr<const codec::Calibration> calibration, int threads,
    const LargestTensor& largest);

}  // namespace pinion::cli
