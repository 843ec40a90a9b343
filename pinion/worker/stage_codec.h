#pragma once
// The tensors of one job at one stage: decodes what a step brings, encodes what it yields, and keeps the
// latents that every stage knows (docs/protocol.md, section 5). Pure of sockets and devices.
//
// One object per (job, attempt), used by one thread at a time, steps in order.

#include <map>
#include <memory>
#include <vector>

#include "pinion/codec/step_stream.h"
#include "pinion/codec/stream_split.h"
#include "pinion/transport/step_messages.h"
#include "pinion/worker/backend.h"

namespace pinion::worker {

struct StageCodecSetup {
  std::vector<models::StateTensorSchema> state;  // of the model
  std::int64_t latent_channels = 0;
  std::int64_t batch = 0;
  models::LatentGrid grid;
  std::int64_t rows = 0;  // batch times all tokens: no state tensor has more
  DType dtype = DType::kF32;
  codec::Profile profile;
  std::optional<codec::Profile> velocity_profile;  // where it does not follow from `profile`
  codec::StateStreams streams;                     // of the states
  std::string model_hash;
  models::BlockRange blocks;
  codec::CalibrationSet calibrations;       // used if the profile is calibrated
  NoiseSource noise;                        // for latents that come as a recipe
  std::vector<std::string> velocity_bases;  // that the client holds
  bool has_maps = false;                    // whether frames may be about what a map makes of the latents
  int stage = 0;
  int stages = 1;
};

class StageCodec {
 public:
  // `bases` outlives this.
  StageCodec(StageCodecSetup setup, const codec::BasisStore& bases)
      : setup_(std::move(setup)), bases_(bases) {}

  // Takes in the bases that earlier jobs left for the states that arrive here; their hashes.
  std::vector<std::string> load_bases();

  // What the next stage holds; before the first encode.
  void next_stage_holds(std::vector<std::string> bases) { known_bases_ = std::move(bases); }

  // The input of the stage's blocks. kProtocol: the step does not fit the job.
  Result<models::StepInput> decode(const transport::Step& step, const transport::Message& message);

  // The message for the next stage, or the result for the client, without its trace. `output` is on the host.
  // Fills what the encoder knows of `hop`.
  Result<transport::Message> encode(const transport::Step& step, const transport::Message& received,
                                    const models::StepOutput& output, transport::TraceHop& hop);

 private:
  bool is_first() const { return setup_.blocks.begin == 0; }  // its state are the latents
  bool is_last() const { return setup_.stage + 1 == setup_.stages; }
  Shape latents_shape() const { return {setup_.batch, setup_.grid.tokens(), setup_.latent_channels}; }

  Result<Tensor> draw_latents(const transport::NoiseRecipe& recipe) const;
  Result<void> receive_latents(const transport::Step& step, const transport::Message& message);
  Result<void> receive_velocity(const transport::LatentsPart& part, const transport::Message& message);
  Result<void> add_basis(const std::string& stream, ByteSpan basis, std::int64_t channels);
  Result<Tensor> decode_frame(const std::string& stream, ByteSpan frame, std::int64_t channels);
  Result<Tensor> decode_part(const transport::StatePart& part, const transport::Message& message,
                             const std::string& stream, std::int64_t channels);
  Result<TensorList> decode_state(const transport::Step& step, const transport::Message& message);
  codec::StreamReceiver& receiver(const std::string& stream);
  std::shared_ptr<const codec::Calibration> calibration_of(const std::string& stream, int cut) const;
  codec::StepContext context() const;
  Result<codec::EncodedFrame> encode_frame(const codec::SenderSettings& settings, const Tensor& tensor,
                                           transport::TraceHop& hop);
  codec::BasisPlace arriving(const std::string& stream) const {
    return {setup_.model_hash, setup_.blocks.begin, stream};
  }
  codec::BasisPlace leaving(const std::string& stream) const {
    return {setup_.model_hash, setup_.blocks.end, stream};
  }
  std::vector<codec::StepStream> step_streams(int cut) const;
  codec::SenderSettings velocity_settings() const;
  Result<codec::EncodedFrame> encode_velocity(const Tensor& velocity, transport::TraceHop& hop);
  Result<void> keep_velocity(const Tensor& velocity);

  StageCodecSetup setup_;
  const codec::BasisStore& bases_;
  std::vector<std::string> known_bases_;                    // of the next stage
  std::map<std::string, codec::StreamReceiver> receivers_;  // by stream
  std::map<std::string, codec::StreamSender> senders_;
  std::vector<float> latents_;                      // x of the last step; empty before the first
  std::vector<float> previous_latents_;             // of the one before it
  std::map<std::string, std::int64_t> state_rows_;  // of the states at hand: that came, or that leave
  float sigma_ = 0;                                 // of the last step
  std::optional<float> previous_sigma_;
  std::vector<float> velocity_;  // v of the last step; empty if it is not known
};

}  // namespace pinion::worker
