#pragma once
// A job whose later blocks run on one or more workers. What the pipeline drives; no sockets, no torch here.
//
// Calls block the calling thread until done or the deadline; the network runs on threads of its own. One
// RemoteJob is used by one thread at a time. Every method returns within its deadline.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pinion/base/result.h"
#include "pinion/base/tensor.h"
#include "pinion/codec/break_even.h"
#include "pinion/codec/calibrated/calibration_set.h"
#include "pinion/codec/token_grid.h"

namespace pinion::client {

struct WorkerAddress {
  std::string host;
  std::uint16_t port = 7777;
};

// "host", "host:port", "[ipv6]:port".
Result<WorkerAddress> parse_worker_address(std::string_view text);

// One link of the chain: this worker runs blocks [begin, end).
struct RemoteStage {
  WorkerAddress worker;
  int begin = 0;
  int end = 0;
};

// A codec that is chosen by measuring, once for all jobs of a plan: at the first step of the first of them,
// which is when there is a state to measure with. One thread at a time.
struct AutoCodec {
  bool exact_only = false;                   // raw or lossless
  double target_db = 30;                     // of the least exact that may be chosen, as `calibrated` has it
  std::optional<codec::CodecChoice> choice;  // written by the job that chose
};

struct RemotePlan {
  std::string model_hash;           // content hash of the whole model
  std::string model_label;          // for error messages: the client's file
  std::string dtype;                // compute dtype, as in pinion::name(DType)
  std::string picture_tensor;       // of the state: has rows of the picture, then of references
  std::vector<RemoteStage> stages;  // contiguous; the last ends the model
  codec::Profile state_profile;     // for hidden states on every hop
  // For the velocity; if empty, codec::velocity_profile() of the states'. Neither may be calibrated then.
  std::optional<codec::Profile> velocity_profile;
  codec::CalibrationSet calibrations;     // of all cuts, if that is calibrated or may become so
  std::shared_ptr<AutoCodec> auto_codec;  // if not null, decides the profiles
  // The stage whose begin is 0 receives latents, always exactly.
};

// Constants of the job, see models::JobConstants (kept apart so that this folder needs no models).
struct RemoteConstants {
  std::int64_t batch = 1;
  std::int64_t grid_height = 0;
  std::int64_t grid_width = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> references;  // height, width
  std::int64_t text_tokens = 0;
  std::vector<float> guidance;
  Tensor context;            // only if the first remote stage begins at block 0
  Tensor reference_latents;  // likewise

  codec::TokenGrid token_grid() const {
    return {.lines = static_cast<std::size_t>(grid_height), .columns = static_cast<std::size_t>(grid_width)};
  }
  std::int64_t reference_tokens() const;  // of each picture of the batch
};

// Where a step's time and bytes went, per hop of the chain (hop 0: client to first worker).
struct StreamStats {
  std::string name;  // "image", "text", "latents", "velocity"
  codec::FrameStats frame;
};

struct HopStats {
  std::string from, to;           // "client" or the worker's host:port
  std::size_t message_bytes = 0;  // everything on the wire for this hop, without TLS and WebSocket framing
  std::vector<StreamStats> streams;
  double encode_ms = 0;
  double decode_ms = 0;
  double queue_ms = 0;    // waiting for the device of the receiving end
  double compute_ms = 0;  // blocks at the receiving end (0 for the last hop, back to the client)
  double wire_ms = 0;     // as far as it can be told from round trip minus the known parts
};

struct RemoteStep {
  Tensor velocity;             // [batch, grid tokens, latent channels], on the CPU; corrected
  std::vector<HopStats> hops;  // last one is the way back
  double round_trip_ms = 0;
};

// Latents that the workers may draw for themselves, if they draw the same.
struct NoiseSeed {
  std::string generator;  // models::noise_generator()
  std::uint64_t seed = 0;
};

struct StepRequest {
  int step = 0;
  std::vector<float> sigma;  // one per batch item
  float delta_sigma =
      0;  // sigma of this step minus sigma of the step before (0 at the first), for latents prediction
  // float32 [batch, grid tokens, latent channels]: every stage gets to know these; where states are
  // calibrated, but for what corrections added to the velocities, and to 4 or 8 bits where they do not follow
  // from these (docs/protocol.md, section 5).
  Tensor latents;
  std::optional<NoiseSeed> noise;  // if the latents are just that
  TensorList state;                // hidden state at the first remote cut; empty when that is 0
};

struct ConnectOptions {
  std::chrono::milliseconds connect_deadline{4000};
  std::chrono::milliseconds open_deadline{600'000};  // a worker may have to read and hash a big model
  std::chrono::milliseconds step_deadline{600'000};
  bool insecure_loopback = false;  // plain TCP to workers on this machine that allow it
};

class RemoteJob {
 public:
  // Connects to every worker, checks pairing, versions and weights, and opens the stages.
  static Result<std::unique_ptr<RemoteJob>> open(const RemotePlan& plan, const ConnectOptions& options);
  virtual ~RemoteJob() = default;

  // With an auto_codec that has chosen nothing yet, workers hear of the job only at the first step.
  virtual Result<void> begin(const RemoteConstants& constants) = 0;
  virtual Result<RemoteStep> step(const StepRequest& request) = 0;
  virtual Result<void> end() = 0;

  // Safe from any thread: a pending call returns kCancelled soon.
  virtual void cancel() = 0;

  // What the workers said when the stages were opened, one per stage: device, memory, load time.
  struct StageReport {
    std::string worker;  // host:port
    std::string device;
    std::size_t weight_bytes = 0;
    double load_ms = 0;
  };
  virtual const std::vector<StageReport>& stages() const = 0;
};

}  // namespace pinion::client
