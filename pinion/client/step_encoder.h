#pragma once
// The client's side of a job's tensors: makes step messages and reads results (docs/protocol.md, section 5).
// One object per (job, attempt); used by one thread, steps in order.

#include <map>

#include "pinion/client/remote_job.h"
#include "pinion/codec/basis_store.h"
#include "pinion/transport/step_messages.h"

namespace pinion::client {

struct StepEncoderSetup {
  std::string job;
  int attempt = 0;
  codec::Profile state_profile;
  bool has_middle_stages = false;  // more than one: all but the last must be sent the velocity
  std::string model_hash;
  int cut = 0;                           // where the states leave this process
  std::vector<std::string> known_bases;  // that the first stage holds
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

  Result<SentStep> encode(const StepRequest& request);

  // Keeps the velocity: the next step's latents are predicted from it.
  Result<ReceivedStep> decode(const transport::Message& result);

 private:
  struct LatentsBlobs {
    transport::LatentsPart part;
    std::vector<transport::Blob> blobs;
    StreamStats stats;
  };
  Result<LatentsBlobs> encode_latents(const StepRequest& request);
  Result<codec::EncodedFrame> encode_frame(const std::string& stream, const codec::Profile& profile,
                                           const Tensor& tensor);

  StepEncoderSetup setup_;
  const codec::BasisStore& bases_;
  std::map<std::string, std::unique_ptr<codec::Encoder>> encoders_;  // by stream
  std::unique_ptr<codec::Decoder> velocity_decoder_ = codec::Decoder::create();
  std::vector<float> latents_;      // of the last step
  std::vector<float> velocity_;     // of the last step; empty before the first result
  transport::Blob velocity_frame_;  // as it came
};

// A constant of the job as a lossless frame.
Result<transport::Blob> encode_constant(const Tensor& tensor);

}  // namespace pinion::client
