#pragma once
// Calibrated fidelity (docs/format.md §12) for tensors in the memory of a CUDA device, as
// pinion/codec/calibrated/calibrated_codec.h has it for the CPU. Frames made on one decode on the other: the
// same integers, tensors within the tolerance of docs/cuda.md. No CUDA header is needed to use this one.
//
// An object codes the frames of one stream in order and is used by one thread at a time; a DeviceCalibration
// is shared. `stream` is a cudaStream_t, null for the default one: work is put there, and calls return when
// their result is there. All memory is taken when an object is made, but for what large frames of other
// encoders need.

#include <memory>
#include <optional>
#include <span>

#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/cuda/device_codec.h"

namespace pinion::codec {

// A calibration in the memory of a device. Immutable.
class DeviceCalibration {
 public:
  // kUnsupported: no such device. kOutOfMemory.
  static Result<std::shared_ptr<const DeviceCalibration>> upload(
      std::shared_ptr<const Calibration> calibration, int device = 0);
  virtual ~DeviceCalibration() = default;
};

// As StepContext, with latents [rows, latents of the calibration] in the device's memory: where the sampler
// that makes them leaves them. They do not change before what is later on the stream.
struct DeviceStepContext {
  float sigma = 0;
  std::optional<float> previous_sigma;
  const float* latents = nullptr;           // null for streams without latents
  const float* previous_latents = nullptr;  // null where they are not known
  std::int64_t output_rows = 0;             // encoding only
  TokenGrid grid = {};                      // likewise
};

struct DeviceCalibratedFrame {
  DeviceFrame frame;
  double coded_bits = 0;  // of the indices, as their classes were priced: within some percent
  double predicted_output_snr_db = 0;
  double step = 0;
};

class DeviceCalibratedEncoder {
 public:
  // For tensors of up to that many rows. kInvalidArgument for a target that cannot be, kUnsupported for a
  // budget of bytes, kOutOfMemory.
  static Result<std::unique_ptr<DeviceCalibratedEncoder>> create(
      std::shared_ptr<const DeviceCalibration> calibration, const CalibratedTarget& target,
      std::size_t max_rows);
  virtual ~DeviceCalibratedEncoder() = default;

  // `tensor` is in the calibration's device's memory, float32, float16 or bfloat16. Errors are those of
  // CalibratedEncoder::encode(), kTooLarge for more rows; the stream is then as before.
  virtual Result<DeviceCalibratedFrame> encode(const TensorView& tensor, const DeviceStepContext& context,
                                               void* stream) = 0;

  // The last frame in page-locked memory, until the next call.
  virtual Result<ByteSpan> copy_to_host(void* stream) = 0;

  // The next frame is a key frame.
  virtual void restart() = 0;

  // For the frames that follow; one that create() takes.
  virtual void set_target(const CalibratedTarget& target) = 0;

  // y of the last frame, [components, rows]; empty if there is none.
  virtual Result<Matrix> copy_state(void* stream) const = 0;

  // Of device memory, without frame and state.
  virtual std::size_t scratch_bytes() const = 0;
};

class DeviceCalibratedDecoder {
 public:
  static Result<std::unique_ptr<DeviceCalibratedDecoder>> create(
      std::shared_ptr<const DeviceCalibration> calibration, std::size_t max_rows);
  virtual ~DeviceCalibratedDecoder() = default;

  // Decodes the stream's next frame to `out`, as DeviceDecoder::decode(). Errors are those of
  // CalibratedDecoder::decode(), kTooLarge for more rows; the stream is then as before.
  virtual Result<TensorView> decode(ByteSpan frame, const DeviceStepContext& context,
                                    std::span<std::byte> out, const DecodeLimits& limits, void* stream,
                                    const std::byte* on_device = nullptr) = 0;

  // As those of the encoder.
  virtual Result<Matrix> copy_state(void* stream) const = 0;
  virtual std::size_t scratch_bytes() const = 0;
};

}  // namespace pinion::codec
