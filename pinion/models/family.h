#pragma once
// What a model family offers to the code that knows no family by name: one entry in families().

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pinion/models/checkpoint.h"
#include "pinion/models/stage.h"

namespace pinion::models {

// One model evaluation, told in the family-independent terms of stage.h.
struct ForwardCall {
  JobConstants constants;
  StepInput input;
};

// How an export stores a model: its tensors under the layout's names, and JSON beside them.
struct FileLayoutPlan {
  std::vector<WantedGroup> tensors;
  std::string config_json;  // for a layout whose folder has a config.json, else empty
};

class Family {
 public:
  virtual ~Family() = default;
  virtual std::string_view name() const = 0;

  // Whether the weights are of this family, by their names alone.
  virtual bool recognises(const Weights& weights) const = 0;

  // Fails if tensors are missing or have other shapes.
  virtual Result<std::unique_ptr<Model>> open(Weights weights) const = 0;

  // The weights in canonical form.
  virtual Result<Checkpoint> open_checkpoint(Weights weights) const = 0;

  // How `layout` ("bfl" or "diffusers") stores this checkpoint; kInvalidArgument for a layout it does not
  // have.
  virtual Result<FileLayoutPlan> plan_layout(const Weights& weights, std::string_view layout) const = 0;

  // The tensors of the family's VAE (a diffusers folder) as ComfyUI's single VAE files name them.
  virtual Result<TensorList> single_file_vae(const Weights& diffusers_vae) const = 0;

  // Reads tensors named as the arguments of the reference implementation's forward.
  virtual Result<ForwardCall> read_forward_call(const ModelInfo& model,
                                                const TensorList& arguments) const = 0;
};

// All families, in the order in which they are asked.
std::span<const Family* const> families();

// The family of that ModelInfo::family name, or nullptr.
const Family* find_family(std::string_view name);

// The one that recognises the weights, or kUnsupported saying what they look like instead.
Result<const Family*> recognise(const Weights& weights);

// What a checkpoint seems to be, for people, judged by its tensor names: "a FLUX.1 model", "a text encoder",
// …
std::string describe_weights(const Weights& weights);

// Where the diffusion model's own weights lie: `path` itself, or its `transformer` sub-folder if it has one.
std::filesystem::path transformer_path(const std::filesystem::path& path);

}  // namespace pinion::models
