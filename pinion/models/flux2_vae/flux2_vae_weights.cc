#include "pinion/models/flux2_vae/flux2_vae_weights.h"

#include <fmt/format.h>

#include <functional>

#include "pinion/models/flux2_vae/flux2_vae_names.h"
#include "pinion/models/load_tensor.h"

namespace pinion::models::flux2_vae {
namespace {

// Gives the tensor of that name and shape. The same walk through the model first asks for all tensors, to
// check them, and then for their values.
using TensorSource = std::function<at::Tensor(const std::string& name, const Shape& shape)>;

class Walk {
 public:
  explicit Walk(const TensorSource& source) : source_(source) {}

  VaeWeights vae(const Spec& spec) const {
    VaeWeights weights;
    const std::int64_t latent = spec.latent_channels;
    weights.decoder = half("decoder.", "up_blocks", "upsamplers", spec.decoder);
    if (spec.encoder) weights.encoder = half("encoder.", "down_blocks", "downsamplers", *spec.encoder);
    if (spec.quant_conv && spec.encoder) weights.quant_conv = conv("quant_conv", {2 * latent, 2 * latent}, 1);
    if (spec.post_quant_conv) weights.post_quant_conv = conv("post_quant_conv", {latent, latent}, 1);
    weights.mean = source_("bn.running_mean", {4 * latent});
    weights.variance = source_("bn.running_var", {4 * latent});
    return weights;
  }

 private:
  struct Widths {
    std::int64_t in, out;
  };

  Affine affine(const std::string& name, const Shape& weight) const {
    return {source_(name + ".weight", weight), source_(name + ".bias", {weight[0]})};
  }

  Affine conv(const std::string& name, Widths widths, std::int64_t kernel = 3) const {
    return affine(name, {widths.out, widths.in, kernel, kernel});
  }

  Resnet resnet(const std::string& name, Widths widths) const {
    Resnet made{.norm1 = affine(name + "norm1", {widths.in}),
                .conv1 = conv(name + "conv1", widths),
                .norm2 = affine(name + "norm2", {widths.out}),
                .conv2 = conv(name + "conv2", {widths.out, widths.out}),
                .shortcut = {}};
    if (widths.in != widths.out) made.shortcut = conv(name + "conv_shortcut", widths, 1);
    return made;
  }

  Attention attention(const std::string& name, std::int64_t width) const {
    const Shape square = {width, width};
    return {.norm = affine(name + "group_norm", {width}),
            .q = affine(name + "to_q", square),
            .k = affine(name + "to_k", square),
            .v = affine(name + "to_v", square),
            .out = affine(name + "to_out.0", square)};
  }

  Half half(const std::string& prefix, const char* level_word, const char* resample_word,
            const HalfSpec& spec) const {
    Half made;
    made.conv_in = conv(prefix + "conv_in", {spec.in_channels, spec.first_channels});
    // The encoder's middle comes after its levels, the decoder's before.
    std::int64_t width = spec.first_channels;
    for (std::size_t i = 0; i < spec.levels.size(); ++i) {
      const std::string name = fmt::format("{}{}.{}.", prefix, level_word, i);
      Level& level = made.levels.emplace_back();
      for (int r = 0; r < spec.levels[i].resnets; ++r) {
        level.resnets.push_back(
            resnet(fmt::format("{}resnets.{}.", name, r), {width, spec.levels[i].channels}));
        width = spec.levels[i].channels;
      }
      if (spec.levels[i].resamples)
        level.resample = conv(fmt::format("{}{}.0.conv", name, resample_word), {width, width});
    }
    const std::string mid = prefix + "mid_block.";
    made.mid_first = resnet(mid + "resnets.0.", {spec.mid_channels, spec.mid_channels});
    if (spec.mid_attention) made.mid_attention = attention(mid + "attentions.0.", spec.mid_channels);
    made.mid_second = resnet(mid + "resnets.1.", {spec.mid_channels, spec.mid_channels});
    const std::int64_t last = prefix == "encoder." ? spec.mid_channels : width;
    made.norm_out = affine(prefix + "conv_norm_out", {last});
    made.conv_out = conv(prefix + "conv_out", {last, spec.out_channels});
    return made;
  }

  const TensorSource& source_;
};

struct Asked {
  std::string name;
  Shape shape;
};

// In the file's own names, also for what it lacks. A matrix that the file stores as a 1x1 convolution is
// asked for in that shape.
Result<WantedGroup> wanted_tensors(const Source& source, const std::vector<Asked>& asked) {
  std::vector<std::string> names;
  for (const Asked& tensor : asked) names.push_back(tensor.name);
  PINION_TRY(const std::vector<VaeRename> renames, vae_to_bfl_names(names));
  WantedGroup group{"vae", {}};
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto& [name, shape] = asked[i];
    const auto found = source.names.find(name);
    FileName file =
        source.is_bfl ? FileName{renames[i].bfl, renames[i].is_1x1_in_bfl} : FileName{name, false};
    if (found != source.names.end()) file = found->second;
    const Shape stored = file.is_1x1 ? Shape{shape[0], shape[1], 1, 1} : shape;
    group.tensors.push_back({name, stored, {{RowRange{file.name, shape[0], 0, shape[0]}}}});
  }
  return group;
}

bool is_statistic(const std::string& name) { return name.starts_with("bn."); }

}  // namespace

Result<VaeWeights> load_weights(const Source& source, const StageOptions& options) {
  std::vector<Asked> asked;
  const TensorSource ask = [&](const std::string& name, const Shape& shape) {
    asked.push_back({name, shape});
    return at::Tensor();
  };
  Walk(ask).vae(source.spec);
  PINION_TRY(const WantedGroup all, wanted_tensors(source, asked));
  PINION_TRY(const Checkpoint checkpoint, Checkpoint::resolve(source.weights, {all}));

  std::optional<Error> failure;  // the first one sticks
  const TensorSource read = [&](const std::string& name, const Shape& shape) {
    if (failure) return at::Tensor();
    auto loaded =
        load_tensor(checkpoint, checkpoint.tensor(name), is_statistic(name) ? StageOptions{} : options);
    if (!loaded.ok()) {
      failure = std::move(loaded).error();
      return at::Tensor();
    }
    return shape.rank() == 2 ? loaded->flatten(1) : std::move(loaded).value();
  };
  VaeWeights weights = Walk(read).vae(source.spec);
  if (failure) return *failure;
  return weights;
}

}  // namespace pinion::models::flux2_vae
