#pragma once
// Encoding of mode 2 (fidelity, docs/format.md §6) for tensors in the memory of a CUDA device. Frames differ
// from the CPU's but mean the same: any decoder takes them. How it is done, and what the CPU does better:
// docs/cuda.md. No CUDA header is needed to use this one.
//
// An object codes the frames of one stream in order and is used by one thread at a time. `stream` is a
// cudaStream_t, null for the default one: work is put there, and calls return when their result is there.
// Memory is taken with the first tensor of a shape, and with the first one that is sent exactly.

#include <memory>
#include <span>

#include "pinion/codec/cuda/device_codec.h"

namespace pinion::codec {

struct DeviceFidelityOptions {
  int device = 0;  // CUDA ordinal
  // A device puts all rows into one band. Where rows differ so much in size that bands would save more than
  // about this share of the indices, as those of text do, tensors are refused with kUnsupported: the CPU has
  // bands. 1: never.
  double most_band_loss = 0.1;
};

struct DeviceFidelityFrame {
  DeviceFrame frame;
  bool is_exact = false;  // lossless: all rows alike, a target out of the basis's reach, or nothing saved
  double snr_db = 0;      // as the components tell it, within .15 of what a decoder gets; infinite if exact
  double step = 0;
  double band_loss = 0;  // see DeviceFidelityOptions
};

class DeviceFidelityEncoder {
 public:
  // For tensors within the limits, as DeviceEncoder::create(), and a target of more than 0 and at most 100 dB
  // (kInvalidArgument).
  static Result<std::unique_ptr<DeviceFidelityEncoder>> create(double target_snr_db,
                                                               const DecodeLimits& limits,
                                                               const DeviceFidelityOptions& options = {});
  virtual ~DeviceFidelityEncoder() = default;

  // The basis that the CPU's encoder would begin a stream with whose first tensor is this one; empty if none
  // pays. It is learned on the CPU, which takes seconds.
  virtual Result<Bytes> learn_basis(const TensorView& tensor, void* stream) = 0;

  // Sets the basis of what follows, none if `asset` is empty; the decoder needs it too. The next frame is a
  // key frame. kBadFormat: it is broken, or its directions depend on each other.
  virtual Result<void> use_basis(ByteSpan asset) = 0;

  // `tensor` is in that device's memory, aligned to its elements, and does not change before what is later on
  // the stream. Errors are those of Encoder::encode(), kTooLarge if it passes the limits, kUnsupported as the
  // options say, and kInvalidArgument if the basis is of other channels; the stream is then as before.
  virtual Result<DeviceFidelityFrame> encode(const TensorView& tensor, void* stream) = 0;

  // The last frame in page-locked memory, until the next call.
  virtual Result<ByteSpan> copy_to_host(void* stream) = 0;

  // The next frame will not refer to earlier ones.
  virtual void restart() = 0;

  // The components of the state (docs/format.md §6.4) that the last frame of mode 2 left, [components, rows];
  // empty if there is none.
  virtual Result<std::vector<std::int32_t>> copy_state(void* stream) const = 0;

  // Of device memory, without the frame.
  virtual std::size_t scratch_bytes() const = 0;
};

}  // namespace pinion::codec
