#include "pinion/models/flux2/flux2_family.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pinion/models/content_hash.h"
#include "pinion/models/flux2/flux2_export.h"
#include "pinion/models/flux2/flux2_forward_call.h"
#include "pinion/models/flux2/flux2_stage.h"
#include "pinion/models/torch_bridge.h"

namespace pinion::models::flux2 {
namespace {

constexpr std::string_view kFamilyName = "flux2";

struct OpenedCheckpoint {
  Spec spec;
  Checkpoint checkpoint;
};

// A tensor that we would ignore (a bias, a block beyond a gap) makes the result wrong without a word.
Result<void> refuse_unknown(const Checkpoint& checkpoint, const FileLayout& layout) {
  const std::vector<std::string> unknown = checkpoint.unknown_names(layout.prefix);
  if (unknown.empty()) return {};
  constexpr std::size_t kShown = 4;
  const auto end = unknown.begin() + static_cast<std::ptrdiff_t>(std::min(unknown.size(), kShown));
  return Error{Errc::kUnsupported,
               fmt::format("{} has {} tensors that are no part of FLUX.2: {}{}",
                           checkpoint.weights().path().string(), unknown.size(),
                           fmt::join(unknown.begin(), end, ", "), unknown.size() > kShown ? ", …" : ""),
               "the file is incomplete, or a variant that cannot be run yet"};
}

Result<OpenedCheckpoint> open_flux2(Weights weights) {
  const auto layout = find_layout(weights);
  PINION_ASSERT(layout.has_value());
  PINION_TRY(const Spec spec, read_spec(weights, *layout));
  PINION_TRY(Checkpoint checkpoint, Checkpoint::resolve(std::move(weights), wanted_groups(spec, *layout)));
  PINION_TRY_VOID(refuse_unknown(checkpoint, *layout));
  return OpenedCheckpoint{spec, std::move(checkpoint)};
}

ModelInfo describe(const Spec& spec, const Checkpoint& checkpoint) {
  ModelInfo info;
  info.family = kFamilyName;
  info.variant = spec.takes_guidance ? "Dev" : "Klein";
  info.path = checkpoint.weights().path();
  for (int block = 0; block < spec.blocks(); ++block) {
    info.blocks.push_back({block < spec.double_blocks ? "double" : "single",
                           checkpoint.group(block_group(block)).stored_bytes});
  }
  info.embed_bytes = checkpoint.group("embed").stored_bytes;
  info.finish_bytes = checkpoint.group("finish").stored_bytes;
  for (const std::string_view shared : {"time", "double modulation", "single modulation"}) {
    info.shared_bytes += checkpoint.group(shared).stored_bytes;
  }
  info.weight_dtype = checkpoint.main_dtype();
  info.latent_channels = spec.latent_channels;
  info.context_channels = spec.context_channels;
  info.takes_guidance = spec.takes_guidance;
  info.state = {{"image", spec.hidden, true}, {"text", spec.hidden}};
  return info;
}

class Flux2Model : public Model {
 public:
  explicit Flux2Model(OpenedCheckpoint opened)
      : spec_(opened.spec), checkpoint_(std::move(opened.checkpoint)), info_(describe(spec_, checkpoint_)) {}

  const ModelInfo& info() const override { return info_; }
  Result<std::string> content_hash() override { return cached_hash(checkpoint_, kFamilyName); }

  Result<std::unique_ptr<Stage>> load_stage(BlockRange range, const StageOptions& options) override {
    if (range.begin < 0 || range.begin >= range.end || range.end > spec_.blocks()) {
      return Error{Errc::kInvalidArgument,
                   fmt::format("blocks {} to {} do not exist: {} has blocks 0 to {}", range.begin,
                               range.end - 1, info_.path.string(), spec_.blocks() - 1),
                   fmt::format("a cut lies between 0 and {}", spec_.blocks() - 1)};
    }
    if (options.dtype != DType::kF32 && options.dtype != DType::kBF16 && options.dtype != DType::kF16) {
      return Error{Errc::kInvalidArgument, fmt::format("cannot compute in {}", name(options.dtype)),
                   "use float32, bfloat16 or float16"};
    }
    PINION_TRY_VOID(check_device(options.device));
    PINION_TRY(auto weights, load_stage_weights(checkpoint_, spec_, range, options));
    return make_stage({spec_, range, options}, std::move(weights));
  }

 private:
  Spec spec_;
  Checkpoint checkpoint_;
  ModelInfo info_;
};

class Flux2Family : public Family {
 public:
  std::string_view name() const override { return kFamilyName; }
  bool recognises(const Weights& weights) const override { return find_layout(weights).has_value(); }

  Result<std::unique_ptr<Model>> open(Weights weights) const override {
    PINION_TRY(OpenedCheckpoint opened, open_flux2(std::move(weights)));
    return std::unique_ptr<Model>(std::make_unique<Flux2Model>(std::move(opened)));
  }

  Result<Checkpoint> open_checkpoint(Weights weights) const override {
    PINION_TRY(OpenedCheckpoint opened, open_flux2(std::move(weights)));
    return std::move(opened.checkpoint);
  }

  Result<FileLayoutPlan> plan_layout(const Weights& weights, std::string_view layout) const override {
    PINION_TRY(const Spec spec, read_spec(weights, *find_layout(weights)));
    if (layout == "bfl") return FileLayoutPlan{wanted_groups(spec, {Layout::kBfl, ""}), ""};
    if (layout == "diffusers") {
      return FileLayoutPlan{wanted_groups(spec, {Layout::kDiffusers, ""}), diffusers_config(spec)};
    }
    return Error{Errc::kInvalidArgument, fmt::format("FLUX.2 has no file layout '{}'", layout),
                 "use bfl or diffusers"};
  }

  Result<TensorList> single_file_vae(const Weights& diffusers_vae) const override {
    return bfl_vae(diffusers_vae);
  }

  Result<ForwardCall> read_forward_call(const ModelInfo& model, const TensorList& arguments) const override {
    return read_diffusers_call(model, arguments);
  }
};

}  // namespace

const Family& family() {
  static const Flux2Family the_family;
  return the_family;
}

}  // namespace pinion::models::flux2
