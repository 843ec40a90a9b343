#pragma once
// The tensors of one job at one stage: decodes what a step brings, encodes what it yields, and keeps the
// latents that every stage knows (docs/protocol.md, section 5). Pure of sockets and devices.
//
// One object per (job, attempt), used by one thread at a time, steps in order.

#include <map>
#include <memory>
#include <vector>

#include "pinion/codec/codec.h"
#include "pinion/models/stage.h"
#include "pinion/transport/step_messages.h"

namespace pinion::worker {

struct StageCodecSetup {
  std::vector<models::StateTensorSchema> state;  // of the model
  std::int64_t latent_channels = 0;
  std::int64_t batch = 0;
  models::LatentGrid grid;
  std::int64_t rows = 0;  // batch times all tokens: no state tensor has more
  DType dtype = DType::kF32;
  codec::Profile profile;
  bool is_first = false;  // begins at block 0: its state are the latents
  int stage = 0;
  int stages = 1;
};

class StageCodec {
 public:
  explicit StageCodec(StageCodecSetup setup) : setup_(std::move(setup)) {}

  // The input of the stage's blocks. kProtocol: the step does not fit the job.
  Result<models::StepInput> decode(const transport::Step& step, const transport::Message& message);

  // The message for the next stage, or the result for the client, without its trace. `output` is on the host.
  // Fills what the encoder knows of `hop`.
  Result<transport::Message> encode(const transport::Step& step, const transport::Message& received,
                                    const models::StepOutput& output, transport::TraceHop& hop);

 private:
  bool is_last() const { return setup_.stage + 1 == setup_.stages; }
  Shape latents_shape() const { return {setup_.batch, setup_.grid.tokens(), setup_.latent_channels}; }

  Result<void> receive_latents(const transport::Step& step, const transport::Message& message);
  Result<void> receive_velocity(ByteSpan frame);
  Result<Tensor> decode_frame(const std::string& stream, ByteSpan frame, std::int64_t channels);
  Result<Tensor> decode_state(const transport::StatePart& part, const transport::Message& message,
                              const models::StateTensorSchema& schema);
  Result<codec::EncodedFrame> encode_frame(const std::string& stream, const codec::Profile& profile,
                                           const Tensor& tensor, transport::TraceHop& hop);
  Result<void> keep_velocity(const Tensor& velocity);

  StageCodecSetup setup_;
  std::map<std::string, std::unique_ptr<codec::Decoder>> decoders_;  // by stream
  std::map<std::string, std::unique_ptr<codec::Encoder>> encoders_;
  std::vector<float> latents_;   // x of the last step; empty before the first
  std::vector<float> velocity_;  // v of the last step; empty if it is not known
};

}  // namespace pinion::worker
