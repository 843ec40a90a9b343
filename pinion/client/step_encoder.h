#pragma once
// The client's side of a job's tensors: makes step messages and reads results (docs/protocol.md, section 5).
// One object per (job, attempt); used by one thread, steps in order.

#include <map>

#include "pinion/client/remote_job.h"
#include "pinion/codec/step_stream.h"
#include "pinion/codec/stream_split.h"
#include "pinion/transport/step_messages.h"

namespace pinion::client {

struct StepEncoderSetup {
  std::string job;
  int attempt = 0;
  codec::Profile state_profile;
  codec::StateStreams streams;     // of the states
  bool has_middle_stages = false;  // more than one: all but the last must be sent the velocity
  bool has_maps = false;           // whether frames may be about what a map makes of the latents
  std::string model_hash;
  int cut = 0;                           // where the states leave this process
  int last_cut = 0;                      // where the last stage begins, which the velocity is calibrated for
  codec::TokenGrid grid;                 // of the latents of a picture
  codec::CalibrationSet calibrations;    // used if the profile is calibrated
  std::vector<std::string> known_bases;  // that the first stage holds
  std::vector<Bytes> velocity_bases;     // kept from earlier jobs: those that the last stage was told of

  codec::BasisPlace velocity_place() const { return {model_hash, last_cut, "velocity"}; }
};

// What the client knows of the first hop.
struct SentStep {
  transport::Message message;
  std::vector<StreamStats> streams;
  double encode_ms = 0;
};

struct ReceivedStep {
  Tensor velocity;
  double decode_ms = 0;
  std::vector<transport::TraceHop> trace;
};

class StepEncoder {
 public:
  // `bases` outlives this.
  StepEncoder(StepEncoderSetup setup, const codec::BasisStore& bases)
      : setup_(std::move(setup)), bases_(bases) {}

  // `may_be_drawn`: all stages can draw the request's noise.
  Result<SentStep> encode(const StepRequest& request, bool may_be_drawn);

  // What is known here of the coding errors of the step that was encoded last, as the velocity answers them
  // on average: to be added to it, [elements of the latents]. Empty: nothing is known.
  Result<std::vector<float>> correction(const StepRequest& request);

  // Keeps the velocity: the next step's latents are predicted from it. `correction` is that of the step.
  Result<ReceivedStep> decode(const transport::Message& result, std::span<const float> correction);

 private:
  struct LatentsBlobs {
    transport::LatentsPart part;
    std::vector<transport::Blob> blobs;
    StreamStats stats;
  };
  Result<LatentsBlobs> encode_latents(const StepRequest& request, bool may_be_drawn);
  std::vector<codec::StepStream> step_streams(const TensorList& state) const;
  // `state`: all that crosses the cut in the step, of which `tensor` is a part.
  Result<codec::EncodedFrame> encode_frame(const std::string& stream, const codec::Profile& profile,
                                           const Tensor& tensor, const codec::StepContext& context,
                                           const TensorList& state = {});
  codec::StepContext context() const;
  void add_velocity(LatentsBlobs& latents) const;
  codec::StreamReceiver& velocity_receiver();
  codec::BasisLimits velocity_basis_limits() const;

  StepEncoderSetup setup_;
  const codec::BasisStore& bases_;
  std::map<std::string, codec::StreamSender> senders_;  // by stream
  std::optional<codec::StreamReceiver> velocity_receiver_;
  // Latents of the last step: the sampler's, and as the workers know them, who are told no correction.
  std::vector<float> sampled_;
  std::vector<float> latents_;
  std::vector<float> previous_latents_;  // of the one before; empty after the first
  float sigma_ = 0;                      // of the last step
  std::optional<float> previous_sigma_;
  std::int64_t rows_ = 0;           // of the latents
  std::vector<float> velocity_;     // of the last step, as the workers know it; empty before the first result
  std::vector<float> corrected_;    // and as the sampler got it
  transport::Blob velocity_frame_;  // as it came
  std::optional<transport::Blob> velocity_basis_;
};

// A constant of the job as a lossless frame.
Result<transport::Blob> encode_constant(const Tensor& tensor);

}  // namespace pinion::client
