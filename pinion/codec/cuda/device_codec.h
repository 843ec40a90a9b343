#pragma once
// The tensor codec for tensors in the memory of a CUDA device: modes 1 (lossless), 3 (bounded), 4 (int8)
// and 5 (int4) of docs/format.md, and decoding of mode 2 (fidelity; its encoder is in
// device_fidelity_codec.h), as pinion/codec/codec.h has them for the CPU. Frames made on one decode on the
// other; those of modes 4 and 5 are the same bytes. How it is done: docs/cuda.md.
//
// An object codes the frames of one stream in order and is used by one thread at a time; several may run side
// by side, each on a stream of its own. `stream` is a cudaStream_t, null for the default one: all work on the
// device is put there, and calls return when their result is there. All memory is taken when an object is
// made, but for what frames of other encoders may need beyond that, a decoder's copy of bounded tensors, and
// its states of fidelity frames. No CUDA header is needed to use this one.

#include <memory>
#include <optional>
#include <span>

#include "pinion/codec/codec.h"

namespace pinion::codec {

// A frame in device memory, until the encoder's next call.
struct DeviceFrame {
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  bool key_frame = true;
};

struct DeviceEncoderOptions {
  int device = 0;          // CUDA ordinal
  bool predicts = true;    // lossless and bounded frames may refer to earlier ones; keeps a copy of the last
                           // tensor
  double error_bound = 0;  // of kBounded, as in Profile
  bool bound_is_relative = false;
};

class DeviceEncoder {
 public:
  // For tensors within the limits, which may not be above 2^31 bytes and 2^20 channels. kUnsupported: another
  // mode, or no such device. kInvalidArgument: a bound that is not above 0 and finite. kOutOfMemory: its
  // workspace does not fit.
  static Result<std::unique_ptr<DeviceEncoder>> create(Mode mode, const DecodeLimits& limits,
                                                       const DeviceEncoderOptions& options = {});
  virtual ~DeviceEncoder() = default;

  // `tensor` is in that device's memory, aligned to its elements, and does not change before what is later on
  // the stream. Errors are those of Encoder::encode(), kTooLarge if it passes the limits.
  virtual Result<DeviceFrame> encode(const TensorView& tensor, void* stream) = 0;

  // The last frame in page-locked memory, until the next call.
  virtual Result<ByteSpan> copy_to_host(void* stream) = 0;

  // The next frame will not refer to earlier ones.
  virtual void restart() = 0;

  // Of device memory, without the frame and the copy of the last tensor.
  virtual std::size_t scratch_bytes() const = 0;
};

struct DeviceDecoderOptions {
  int device = 0;
  bool keeps_last = true;  // a copy of each lossless or bounded tensor, so that frames may refer to the one
                           // before
};

class DeviceDecoder {
 public:
  // As DeviceEncoder::create().
  static Result<std::unique_ptr<DeviceDecoder>> create(const DecodeLimits& limits,
                                                       const DeviceDecoderOptions& options = {});
  virtual ~DeviceDecoder() = default;

  // As Decoder::add_basis(); the basis goes to the device too.
  virtual Result<void> add_basis(ByteSpan basis, const BasisLimits& limits) = 0;

  // Decodes the next frame of the stream to `out`, device memory aligned to 16 bytes, and returns the tensor
  // that lies there. `frame` is in host memory; faster if that is page-locked. `on_device`, if not null, is a
  // copy of the same bytes in device memory, so that none need to be sent. Errors are those of
  // Decoder::decode(), kTooLarge also where `out` is too small, and kUnsupported for modes that are not of
  // this class; what is in `out` then is undefined, and the stream is as it was.
  virtual Result<TensorView> decode(ByteSpan frame, std::span<std::byte> out, void* stream,
                                    const std::byte* on_device = nullptr) = 0;

  // Of device memory, without the frame and the copy of the last tensor.
  virtual std::size_t scratch_bytes() const = 0;
};

}  // namespace pinion::codec
