#pragma once
// Text to picture: one job from prompt to pixels, all local or split over workers.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pinion/pipeline/cancellation.h"
#include "pinion/pipeline/picture.h"
#include "pinion/pipeline/placed_model.h"

namespace pinion::pipeline {

struct GenerateRequest {
  std::filesystem::path model;  // diffusers folder
  std::string prompt;
  std::optional<int> width, height;  // pixels, multiples of 16; the model's own size when absent
  std::optional<int> steps;
  std::optional<double> guidance;
  std::uint64_t seed = 0;
  int batch = 1;
  std::vector<std::filesystem::path> references;  // PNG files
  std::filesystem::path embeds;  // "prompt_embeds" [1 or batch, tokens, channels] instead of the text encoder
  std::filesystem::path latents;  // "latents" [batch, channels, h, w] instead of seeded noise
  Device device;
  std::optional<DType> dtype;  // compute dtype; float32 on the CPU, bfloat16 on CUDA when absent

  SplitOptions split;
  bool compare_local = false;  // run the whole job here as well and compare the pictures
  // Cuts whose states are recorded, with latents and velocities (of two-pass guidance, the prompt's); the
  // whole model must be here.
  std::vector<int> record_cuts;
};

struct StepReport {
  int step = 0;
  double sigma = 0;
  double total_ms = 0;
  DenoiseTrace trace;  // with real guidance the second branch's hops follow the first's
};

struct Comparison {
  std::vector<PictureDifference> pictures;  // one per batch item
  bool latents_identical = false;           // bit for bit
  double local_ms = 0;                      // denoising time of the unsplit run
};

struct RecordedJob {
  TensorList tensors;  // as JobRecorder names them
  std::string model_hash;
};

struct GenerateResult {
  std::vector<Picture> pictures;
  std::vector<Picture> local_pictures;  // only with compare_local
  Tensor latents;                       // final, float32 [batch, grid tokens, channels]
  models::LatentGrid grid;
  GenerateRequest request;  // with every default filled in
  Placement placement;
  std::vector<client::RemoteJob::StageReport> workers;
  // With an auto_codec; request.split.codec is then what it chose.
  std::optional<codec::CodecChoice> codec_choice;
  std::size_t local_weight_bytes = 0;  // transformer weights held by this process
  std::vector<StepReport> steps;
  double connect_ms = 0, text_ms = 0, load_ms = 0, decode_ms = 0, total_ms = 0;
  std::optional<Comparison> comparison;
  std::optional<RecordedJob> recorded;  // with record_cuts
};

// What the job is doing, for progress bars. `done` of `total` is 0 of 0 for phases that cannot be counted.
struct Progress {
  std::string_view phase;  // "connect", "text", "load", "denoise", "decode", "compare"
  int done = 0;
  int total = 0;
};
using ProgressSink = std::function<void(const Progress&)>;

// Returns kCancelled soon after `cancellation` is used.
Result<GenerateResult> generate(GenerateRequest request, const ProgressSink& progress,
                                Cancellation& cancellation);

}  // namespace pinion::pipeline
