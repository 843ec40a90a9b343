#pragma once
// Calibrated fidelity (docs/format.md §12, docs/calibration.md): a stream coded by statistics that encoder
// and decoder were given beforehand, with a target for the model's output instead of the state.
//
// These are classes of their own, not an Encoder and a Decoder, since they cannot do without two things that
// no other mode has: a calibration, and each step's latents. One object is used by one thread at a time, and
// has as many threads work for it as it was told, which frames and tensors do not depend on; calibrations are
// shared. Tensors are on the CPU, [.., rows, channels], float32, float16 or bfloat16.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "pinion/codec/calibrated/calibration.h"
#include "pinion/codec/codec.h"
#include "pinion/codec/token_grid.h"

namespace pinion::codec {

// What both ends know of a step besides the frame. All spans are borrowed for the call.
struct StepContext {
  // Noise levels of this step and of the one that previous_latents belong to.
  float sigma = 0;
  std::optional<float> previous_sigma;
  // [rows, latents of the calibration], finite, the same on both sides to the last bit; empty for streams
  // without latents. A batch is more rows.
  std::span<const float> latents;
  std::span<const float> previous_latents;  // empty where they are not known: at a job's first step
  // Rows of the model's output (latent tokens, all of a batch), which the target is about.
  std::int64_t output_rows = 0;
  // How the rows of streams with latents lie in each picture, for the encoder; 0 where that is not known.
  TokenGrid grid = {};
};

struct CalibratedTarget {
  // Predicted signal-to-noise ratio of the model's output in dB, as far as this stream's errors go.
  double output_snr_db = 30;
  // If not 0, a budget for the frame instead. One correction comes near budgets above 500
  // bytes: from 30 % below to 6 % above.
  std::size_t frame_bytes = 0;
};

struct CalibratedStats {
  std::size_t frame_bytes = 0;
  std::size_t tensor_bytes = 0;
  std::int64_t elements = 0;
  double coded_bits = 0;               // of the indices under their tables
  double ideal_index_bits = 0;         // their entropy, each table class under its own histogram
  double predicted_output_snr_db = 0;  // reached, from the real quantisation error
  double step = 0;
  bool key_frame = true;  // predicted from the latents alone
};

struct CalibratedFrame {
  Bytes frame;
  CalibratedStats stats;
};

class CalibratedEncoder {
 public:
  // kInvalidArgument for a target that cannot be: SNR outside (0, 200] dB.
  static Result<CalibratedEncoder> create(std::shared_ptr<const Calibration> calibration,
                                          const CalibratedTarget& target, int threads = 1);
  CalibratedEncoder(CalibratedEncoder&&) noexcept;
  CalibratedEncoder& operator=(CalibratedEncoder&&) noexcept;
  ~CalibratedEncoder();

  // Encodes the stream's next tensor. kInvalidArgument if the tensor or the context does not fit the
  // calibration, or holds values that are not finite; the stream is then as before.
  Result<CalibratedFrame> encode(const TensorView& tensor, const StepContext& context);

  // Of calibrations that have responses, what the sender adds to the velocity that its last frame leads to,
  // as the mean response to what coding took from the state: [rows, latents]. `tensor` and `context` are
  // those that the frame was made of. Empty for other calibrations, for what has another shape than that, and
  // where the last call of encode() made no frame.
  std::vector<float> correction(const TensorView& tensor, const StepContext& context);

  // The next frame is a key frame (after a lost frame or a reconnect).
  void restart();

  // For the frames that follow; one that create() takes.
  void set_target(const CalibratedTarget& target);

 private:
  class Stream;
  explicit CalibratedEncoder(std::unique_ptr<Stream> stream);

  std::unique_ptr<Stream> stream_;
};

class CalibratedDecoder {
 public:
  explicit CalibratedDecoder(std::shared_ptr<const Calibration> calibration, int threads = 1);
  CalibratedDecoder(CalibratedDecoder&&) noexcept;
  CalibratedDecoder& operator=(CalibratedDecoder&&) noexcept;
  ~CalibratedDecoder();

  // Decodes the stream's next frame, which is of mode 6. kNotFound: it needs another calibration, or an
  // earlier frame or earlier latents that are not here; the sender must restart the stream. kInvalidArgument:
  // the context does not fit. After an error the stream is as before.
  Result<Tensor> decode(ByteSpan frame, const StepContext& context, const DecodeLimits& limits);

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace pinion::codec
