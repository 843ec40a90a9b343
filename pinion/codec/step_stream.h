#pragma once
// One stream of a job at the two ends of a link, whatever its mode: frames of modes calibrated and mapped
// need the step's latents, all others need none. One object is used by one thread at a time, steps in order.

#include <variant>

#include "pinion/codec/basis_store.h"
#include "pinion/codec/calibrated/calibrated_codec.h"
#include "pinion/codec/calibrated/calibration_set.h"
#include "pinion/codec/calibrated/step_target.h"

namespace pinion::codec {

// How the velocity returns where states are sent by `states`: exactly, or so well that it costs the picture
// little beside them.
Profile velocity_profile(const Profile& states);

// How latents are sent that do not follow from the velocity, to stages that only predict from them, where
// states are sent by `states`: exactly, or at 4 or 8 bits where these are calibrated.
Profile latents_profile(const Profile& states);

// How the rows of references are sent, which no calibration knows, where states are sent by `states`, which
// is calibrated.
Profile reference_profile(const Profile& states);

// Threads that share the work on a tensor of a job: as many as the machine runs at once, and at most four,
// beyond which memory is what they wait for. They sleep while the model computes.
int job_threads();

// How a stream is sent.
struct SenderSettings {
  Profile profile;
  std::shared_ptr<const Calibration> calibration;  // of mode kCalibrated; else unused
  // Of mode kCalibrated: all calibrated streams that cross the cut in a step and share its target, this one
  // among them by its calibration. None: the target is this stream's.
  std::vector<StepStream> step_streams = {};
  BasisPlace place;                      // of bases kept from job to job
  std::vector<std::string> known_bases;  // that the receiver holds
  bool keeps_decoded = false;            // whether decoded() is wanted
  bool has_latent_rows = false;          // whether each row has latents of its own in the context
  bool keeps_lessons = true;             // whether what maps are learned from is kept, not only assets
  EncoderOptions encoding = {};          // `measured` is about calibrated frames too
};

class StreamSender {
 public:
  // A stream of references that is to be calibrated is sent by its reference_profile(). kInvalidArgument: any
  // other of mode kCalibrated without a calibration.
  // `bases` outlives the sender.
  static Result<StreamSender> create(SenderSettings settings, const BasisStore& bases);

  Result<EncodedFrame> encode(const Tensor& tensor, const StepContext& context);

  // What to add to the velocity that the last frame leads to (CalibratedEncoder::correction), of what it was
  // made of; empty: nothing.
  std::vector<float> correction(const Tensor& tensor, const StepContext& context);

  // What the receiver makes of the last frame; undefined unless it is wanted.
  const Tensor& decoded() const { return decoded_; }

 private:
  struct Calibrated {
    CalibratedEncoder encoder;
    CalibratedDecoder twin;  // makes what arrives
    std::size_t latents = 0;
  };
  StreamSender(SenderSettings settings, const BasisStore& bases)
      : settings_(std::move(settings)), bases_(&bases) {}
  Result<EncodedFrame> encode_calibrated(Calibrated& calibrated, const Tensor& tensor,
                                         const StepContext& context);
  Result<void> decode_twin(Calibrated& calibrated, const Tensor& tensor, const StepContext& context,
                           EncodedFrame& encoded);

  SenderSettings settings_;
  const BasisStore* bases_;
  std::unique_ptr<Encoder> encoder_;  // null if calibrated
  bool has_kept_lessons_ = false;     // what the first frame taught it
  std::unique_ptr<Calibrated> calibrated_;
  std::unique_ptr<Decoder> twin_;  // null unless its tensors are wanted
  Tensor decoded_;
};

class StreamReceiver {
 public:
  // `calibration` may be null: calibrated frames are then refused. So are mapped ones unless each row has
  // latents of its own in the context, and the sender was told that they are taken. `threads` as
  // Decoder::create.
  StreamReceiver(std::shared_ptr<const Calibration> calibration, bool has_latent_rows, int threads = 1);

  Result<void> add_basis(ByteSpan basis, const BasisLimits& limits) {
    return decoder_->add_basis(basis, limits);
  }
  Result<Tensor> decode(ByteSpan frame, const StepContext& context, const DecodeLimits& limits);

 private:
  std::unique_ptr<Decoder> decoder_;
  std::optional<CalibratedDecoder> calibrated_;
  std::size_t latents_ = 0;
  bool has_latent_rows_;
};

}  // namespace pinion::codec
