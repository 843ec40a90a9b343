#pragma once
// What a FLUX.2 checkpoint is, read from its keys and shapes, and where its tensors lie in either layout.
// Pure functions on headers: no weight is read. Sizes and names: docs/models.md.

#include <optional>

#include "pinion/models/checkpoint.h"

namespace pinion::models::flux2 {

// How a file names and cuts its tensors. Canonical names are BFL's without prefix.
enum class Layout {
  kBfl,        // one file, as Black Forest Labs and ComfyUI have it
  kDiffusers,  // q, k, v apart; halves of the final modulation swapped
};

struct FileLayout {
  Layout layout = Layout::kBfl;
  std::string prefix;  // before every name: "" or "model.diffusion_model."
};

struct Spec {
  std::int64_t hidden = 0;
  std::int64_t head_width = 0;  // 128 in released models: four rope axes of 32
  std::int64_t mlp_width = 0;   // after the gate: 3 * hidden
  std::int64_t latent_channels = 0;
  std::int64_t context_channels = 0;
  std::int64_t time_features = 0;  // of the sinusoid, 256
  int double_blocks = 0;
  int single_blocks = 0;
  bool takes_guidance = false;  // Dev

  std::int64_t heads() const { return hidden / head_width; }
  int blocks() const { return double_blocks + single_blocks; }
};

// The layout of a file that holds a FLUX.2; empty for any other file.
std::optional<FileLayout> find_layout(const Weights& weights);

// The sizes, from the shapes of a few tensors. kNotFound if one of these is missing, kBadFormat or
// kUnsupported if they do not fit together.
Result<Spec> read_spec(const Weights& weights, const FileLayout& layout);

// Every tensor of the model as that layout spells it, in groups: "embed", "time", "double modulation",
// "single modulation", "block 0", "block 1", …, "finish".
std::vector<WantedGroup> wanted_groups(const Spec& spec, const FileLayout& layout);

std::string block_group(int block);

}  // namespace pinion::models::flux2
