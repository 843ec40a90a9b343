#pragma once
// The tensor codec: one tensor of one stream in, one frame out, and back.
// Format: docs/format.md.
//
// A stream is the sequence of tensors that cross one cut under one name in one
// job (the image rows of a state, say), one frame per sampler step. Encoder and
// Decoder keep that stream's prediction state and must see its frames in the
// same order; one object is used by one thread at a time. No global state.
// Tensors are [.., rows, channels]: the last axis is the channel, all others
// are rows.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"

namespace pinion::codec {

enum class Mode : std::uint8_t {
  kRaw = 0,
  kLossless = 1,
  kFidelity = 2,
  kBounded = 3,
  kInt8 = 4,
  kInt4 = 5,
  kCalibrated = 6,  // has classes of its own: pinion/codec/calibrated/calibrated_codec.h
  kMapped = 7,      // a fidelity frame of what a map of the latents leaves; no profile asks for it
};

std::string_view name(Mode mode);

// Whether what is decoded is what was encoded, bit for bit.
constexpr bool is_exact(Mode mode) { return mode == Mode::kRaw || mode == Mode::kLossless; }

// What the encoder should do with a stream.
struct Profile {
  Mode mode = Mode::kRaw;
  // kFidelity: target signal-to-noise ratio in dB of the centred tensor (means
  // removed per channel). kCalibrated: of the model's output.
  double target_snr_db = 20.0;
  // kCalibrated: if not 0, what all streams may take together that cross a cut in a step, in place of the
  // target; of a stream that is alone, what a frame may take.
  std::size_t budget_bytes = 0;
  // kBounded: the largest error of any element, or of a channel's elements in units of the root of their
  // mean square.
  double error_bound = 0;
  bool bound_is_relative = false;
};

// "raw", "lossless", "bounded:.01" (every element within .01), "bounded:rel:.01" (within .01 of its channel's
// root mean square), "int8", "int4", "calibrated:30" (dB), "calibrated:64kB" (a budget in B, kB or MB, powers
// of 1000), "fidelity:20" (dB) or "fidelity:cos:.995" / "cos:.995" (centred cosine of the whole tensor,
// SNR = -10 log10(1 - cos^2)).
Result<Profile> parse_profile(std::string_view text);
std::string to_string(const Profile& profile);

// What one frame cost and what it kept. SNR and cosine are measured by the
// encoder on what the decoder will reconstruct. The SNR is the energy of the
// original about its channels' means (over the rows) over that of the
// difference: an error of a mean counts. The cosine is centred: between both
// tensors, each minus its own channels' means. Infinite and 1 for exact modes.
// Elements that are not finite stay as they are and do not count.
struct FrameStats {
  std::size_t frame_bytes = 0;
  std::size_t basis_bytes = 0;   // of the basis sent with this frame, 0 if none was
  std::size_t tensor_bytes = 0;  // raw size
  std::int64_t elements = 0;
  double ideal_index_bits = 0;  // entropy of the indices, each table class under
                                // its own histogram (fidelity, calibrated)
  double snr_db = 0;
  double cosine = 0;
  double max_error = 0;
  double output_snr_db = 0;  // of the model's output as this frame's errors
                             // change it (calibrated), else 0
  bool key_frame = true;     // decodable without an earlier frame
};

// What is kept from job to job: bases and maps from latents to channels, which are basis assets and sent, and
// what maps are learned from, which stays with the sender.
enum class AssetKind { kBasis, kMap, kLessons };

struct EncodedFrame {
  Bytes frame;
  Bytes basis;  // a new basis asset that the decoder needs before this frame;
                // empty if none
  AssetKind basis_kind = AssetKind::kBasis;
  FrameStats stats;
};

struct EncoderOptions {
  int threads = 1;  // that share the work on a tensor; 1: the caller's alone. Frames do not depend on it.
  bool measured = true;  // fill snr_db, cosine and max_error of kBounded, kInt8 and kInt4, which takes longer
                         // than coding; otherwise they stay 0
};

class Encoder {
 public:
  static Result<std::unique_ptr<Encoder>> create(const Profile& profile, const EncoderOptions& options = {});
  virtual ~Encoder() = default;

  // Encodes the next tensor of the stream. kFidelity, kInt8 and kInt4 refuse NaN and infinity. `latents` are
  // what the decoder will know of the rows, [rows, any number], finite: kFidelity takes off what a map makes
  // of them, where that pays. Empty: nothing.
  virtual Result<EncodedFrame> encode(const TensorView& tensor, std::span<const float> latents) = 0;
  Result<EncodedFrame> encode(const TensorView& tensor) { return encode(tensor, {}); }

  // The next frame will not refer to earlier ones (after a lost frame or a
  // reconnect). A basis that was sent before is sent again with it, unless the
  // other side is known to hold it (assume_known_basis).
  virtual void restart() = 0;

  // Says that the other side already holds this basis (hex hash), so that it is
  // not sent again.
  virtual void assume_known_basis(std::string_view hash) = 0;

  // Hands over a basis asset kept from an earlier job, to start with instead of
  // computing one. It is sent like any other unless assume_known_basis named
  // it. The encoder replaces it when it fits badly.
  virtual Result<void> offer_basis(ByteSpan basis) = 0;
  virtual Result<void> offer_map(ByteSpan map) = 0;

  // What maps are learned from: sums over streams, handed over from an earlier job, and what they have
  // become. Empty: nothing was learned.
  virtual Result<void> offer_lessons(ByteSpan lessons) = 0;
  virtual Bytes lessons() const = 0;
};

// The name under which a basis asset is known: the first 16 bytes of its
// SHA-256, in hex.
std::string basis_hash(ByteSpan basis);

// Refuses frames that ask for more than the receiver will give. Required, so
// that nobody forgets.
struct DecodeLimits {
  std::size_t max_tensor_bytes;
  std::size_t max_channels = 65536;
};

// Refuses bases that would take more memory than the receiver will give: 8 bytes a coefficient while one is
// decoded, 4 afterwards. Required too.
struct BasisLimits {
  std::size_t max_channels;        // of one basis
  std::uint64_t max_coefficients;  // channels times components of all bases that the decoder holds; above
                                   // the format's own limit of 2^26 it is that

  // What a stream of so many channels may need: a basis has at most channels times channels coefficients, and
  // a stream takes several in its life.
  static BasisLimits for_channels(std::size_t channels);
};

class Decoder {
 public:
  // `threads` share the work on a tensor; 1: the caller's alone. Tensors do not depend on it.
  static std::unique_ptr<Decoder> create(int threads = 1);
  virtual ~Decoder() = default;

  // Adds a basis asset; kept for the decoder's life. Adding one that is held
  // already does nothing. kTooLarge: it passes the limits; nothing was allocated.
  virtual Result<void> add_basis(ByteSpan basis, const BasisLimits& limits) = 0;

  // Decodes the next frame of the stream. The tensor may share its memory with the decoder's state, so it is
  // for reading only. kNotFound: it needs a basis or an
  // earlier frame that is not here. kUnsupported: it is of mode kCalibrated, or of mode kMapped and there are
  // no latents: those that the encoder was given.
  virtual Result<Tensor> decode(ByteSpan frame, std::span<const float> latents,
                                const DecodeLimits& limits) = 0;
  Result<Tensor> decode(ByteSpan frame, const DecodeLimits& limits) { return decode(frame, {}, limits); }
};

struct FrameInfo {
  Mode mode;
  DType dtype;
  Shape shape;
  std::size_t frame_bytes;
  std::string basis_hash;  // of the basis, calibration or map, hex; empty if none is needed
  bool key_frame;
  double step_size;      // quantiser step, 0 in exact modes
  double output_snr_db;  // what a calibrated frame predicts for the model's output, 0 in other modes
};

// Reads a frame's header only; trusts nothing.
Result<FrameInfo> inspect(ByteSpan frame, const DecodeLimits& limits);

}  // namespace pinion::codec
