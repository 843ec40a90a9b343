#pragma once
// A stage: a contiguous run of a model's blocks, loaded on one device. This header is the whole border
// between the models and everything that drives them; it names no family and no libtorch.
//
// Life: open a Model (reads headers, no weights) -> load_stage (reads exactly the tensors its blocks
// need) -> begin_job (job constants, once) -> step, once per sampler step, in any order of steps.
// A Stage's weights are immutable and shared by its jobs. One Stage and its jobs are used by one thread at
// a time; different stages are independent.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pinion/base/device.h"
#include "pinion/base/result.h"
#include "pinion/base/tensor.h"

namespace pinion::models {

// Blocks [begin, end) of the whole model, counted through all kinds of blocks (FLUX.2: doubles, then
// singles). A stage with begin == 0 also embeds; one with end == the model's block count also finishes.
struct BlockRange {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  bool operator==(const BlockRange&) const = default;
};

// One tensor of the state that crosses a cut. Rows are tokens.
struct StateTensorSchema {
  std::string name;  // "image", "text"
  std::int64_t channels;
  bool has_latent_rows = false;  // its first rows are the picture's latent tokens, one for one
};

struct BlockInfo {
  std::string kind;          // "double", "single"
  std::size_t weight_bytes;  // as stored in the checkpoint
};

// What a checkpoint is, read from its keys and shapes alone.
struct ModelInfo {
  std::string family;   // "flux2"
  std::string variant;  // for people: "Klein", "Dev"
  std::filesystem::path path;
  std::vector<BlockInfo> blocks;
  std::size_t embed_bytes = 0;   // weights needed only by the stage that embeds
  std::size_t finish_bytes = 0;  // weights needed only by the stage that finishes
  std::size_t shared_bytes = 0;  // weights every stage needs (modulation, time embedding)
  DType weight_dtype = DType::kBF16;
  std::int64_t latent_channels = 0;      // channels of the latent and of the velocity
  std::int64_t context_channels = 0;     // channels of the text embeddings
  bool takes_guidance = false;           // has an embedded guidance input
  std::vector<StateTensorSchema> state;  // what crosses a cut N > 0

  // The name of the state tensor that carries the picture; empty if there is none.
  std::string picture_tensor() const {
    const auto found = std::ranges::find_if(state, &StateTensorSchema::has_latent_rows);
    return found == state.end() ? std::string() : found->name;
  }
};

// What every stage of a job must know once. Family independent: a picture is a grid of latent tokens.
struct LatentGrid {
  std::int64_t height = 0;  // in latent tokens (16 pixels each for FLUX.2)
  std::int64_t width = 0;
  std::int64_t tokens() const { return height * width; }
  bool operator==(const LatentGrid&) const = default;
};

struct JobConstants {
  std::int64_t batch = 1;
  LatentGrid grid;
  std::vector<LatentGrid> references;  // reference images, in order
  std::int64_t text_tokens = 0;
  std::vector<float> guidance;  // one value per batch item; empty when the model takes none
  // The velocity has rows for the reference tokens too, after the picture's: of no use to a sampler, but it
  // is what the reference implementation's forward returns.
  bool velocity_of_references = false;
  // Only the stage that embeds needs these (others may leave them undefined):
  Tensor context;  // text embeddings [batch, text_tokens, context_channels]
  Tensor
      reference_latents;  // [batch, sum of reference tokens, latent_channels]; undefined without references
};

struct StepInput {
  std::vector<float> sigma;  // noise level in [0, 1], one per batch item (FLUX.2: the timestep / 1000)
  // The state at the stage's first cut: for begin == 0 the one tensor "latents" [batch, tokens,
  // latent_channels] (float32 or the stage's dtype), else the tensors of ModelInfo::state,
  // [batch, tokens, channels] in the stage's dtype.
  TensorList state;
};

// The state at the stage's end: ModelInfo::state, or the one tensor "velocity" [batch, grid tokens,
// latent_channels] if the stage finishes. In the stage's dtype, on the stage's device.
using StepOutput = TensorList;

struct StageOptions {
  Device device;
  DType dtype = DType::kF32;  // compute dtype: kF32, kBF16 or kF16
};

// Called with the state entering each block when tracing: block index and the state there.
using BlockObserver = std::function<void(int block, const TensorList& state)>;

// A step that was recorded for its derivatives; it holds every block's activations until it goes.
class LinearisedStep {
 public:
  virtual ~LinearisedStep() = default;
  virtual const StepOutput& output() const = 0;

  // Vector-Jacobian product: J^T c, where J is the derivative of the output with respect to the state that
  // entered. `cotangents` are named and shaped as the output, the result as the entering state, in the
  // stage's dtype on its device. May be called any number of times.
  virtual Result<TensorList> pull_back(const TensorList& cotangents) = 0;
};

class StageJob {
 public:
  virtual ~StageJob() = default;
  virtual Result<StepOutput> step(const StepInput& input, const BlockObserver& observer = {}) = 0;

  // The same step, recorded. kUnsupported for stages that cannot.
  virtual Result<std::unique_ptr<LinearisedStep>> linearise(const StepInput&) {
    return Error{Errc::kUnsupported, "this model's blocks give no derivatives", ""};
  }
};

class Stage {
 public:
  virtual ~Stage() = default;
  virtual BlockRange range() const = 0;
  virtual const StageOptions& options() const = 0;
  virtual std::size_t weight_bytes() const = 0;  // resident on the device
  virtual Result<std::unique_ptr<StageJob>> begin_job(JobConstants constants) = 0;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  int block_count() const { return static_cast<int>(info().blocks.size()); }

  // Content hash, hex: the same for the same weights in any file layout. The first call reads every
  // weight; the result is kept in the user's cache by path, size and modification time.
  virtual Result<std::string> content_hash() = 0;

  virtual Result<std::unique_ptr<Stage>> load_stage(BlockRange range, const StageOptions& options) = 0;
};

// Opens the diffusion model at `path`: a diffusers folder (or its `transformer` sub-folder) or a single
// .safetensors file. Reads headers only.
Result<std::unique_ptr<Model>> open_model(const std::filesystem::path& path);

// Moves a tensor to the CPU (a no-op there), waiting for the device.
Result<Tensor> to_cpu(const Tensor& tensor);

}  // namespace pinion::models
