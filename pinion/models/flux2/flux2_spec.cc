#include "pinion/models/flux2/flux2_spec.h"

#include <fmt/format.h>

#include <array>

namespace pinion::models::flux2 {
namespace {

// Only FLUX.2 shares one modulation between its blocks, so this tensor tells it from every other family.
constexpr std::string_view kBflMark = "double_stream_modulation_img.lin.weight";
constexpr std::string_view kDiffusersMark = "double_stream_modulation_img.linear.weight";
constexpr std::array<std::string_view, 2> kPrefixes = {"", "model.diffusion_model."};

// The few names that the sizes are read from, as each layout spells them.
struct SpecNames {
  std::string_view image_in, text_in, time_in, guidance_in, out;
  std::string_view double_block, double_norm, double_norm_other, double_mlp_out;
  std::string_view single_block, single_norm, single_norm_other, single_out;
};

constexpr SpecNames kBflNames = {
    .image_in = "img_in.weight",
    .text_in = "txt_in.weight",
    .time_in = "time_in.in_layer.weight",
    .guidance_in = "guidance_in.in_layer.weight",
    .out = "final_layer.linear.weight",
    .double_block = "double_blocks.",
    .double_norm = "0.img_attn.norm.query_norm.scale",
    .double_norm_other = "0.img_attn.norm.query_norm.weight",
    .double_mlp_out = "0.img_mlp.2.weight",
    .single_block = "single_blocks.",
    .single_norm = "0.norm.query_norm.scale",
    .single_norm_other = "0.norm.query_norm.weight",
    .single_out = "0.linear2.weight",
};

constexpr SpecNames kDiffusersNames = {
    .image_in = "x_embedder.weight",
    .text_in = "context_embedder.weight",
    .time_in = "time_guidance_embed.timestep_embedder.linear_1.weight",
    .guidance_in = "time_guidance_embed.guidance_embedder.linear_1.weight",
    .out = "proj_out.weight",
    .double_block = "transformer_blocks.",
    .double_norm = "0.attn.norm_q.weight",
    .double_norm_other = "0.attn.norm_q.weight",
    .double_mlp_out = "0.ff.linear_out.weight",
    .single_block = "single_transformer_blocks.",
    .single_norm = "0.attn.norm_q.weight",
    .single_norm_other = "0.attn.norm_q.weight",
    .single_out = "0.attn.to_out.weight",
};

// How many of "<prefix>0.", "<prefix>1.", … have at least one tensor.
int count_blocks(const std::vector<std::string>& sorted_names, const std::string& prefix) {
  int count = 0;
  for (;; ++count) {
    const std::string block = fmt::format("{}{}.", prefix, count);
    const auto first = std::lower_bound(sorted_names.begin(), sorted_names.end(), block);
    if (first == sorted_names.end() || !first->starts_with(block)) return count;
  }
}

// Looks up shapes and remembers what is missing, so that a parser may ask for a group and check once.
class ShapeReader {
 public:
  ShapeReader(const Weights& weights, const std::string& prefix) : weights_(weights), prefix_(prefix) {}

  // The shape of the first of these that exists; it must have `rank` extents.
  Shape shape(std::size_t rank, std::initializer_list<std::string> names) {
    for (const std::string& name : names) {
      const SafetensorsEntry* entry = weights_.entry(prefix_ + name);
      if (entry == nullptr) continue;
      if (entry->shape.rank() == rank && entry->shape.elements() > 0) return entry->shape;
      remember(Errc::kBadFormat,
               fmt::format("tensor '{}' has shape {}", entry->name, to_string(entry->shape)));
      return ones(rank);
    }
    remember(Errc::kNotFound, fmt::format("tensor '{}{}' is missing", prefix_, *names.begin()));
    return ones(rank);
  }

  Result<void> check() const {
    if (!failure_) return {};
    return Error{failure_->code, fmt::format("{}: {}", weights_.path().string(), failure_->text),
                 "the file is incomplete or damaged: download it again"};
  }

 private:
  static Shape ones(std::size_t rank) { return rank == 1 ? Shape{1} : Shape{1, 1}; }
  void remember(Errc code, std::string text) {
    if (!failure_) failure_ = Error{code, std::move(text), ""};
  }

  const Weights& weights_;
  const std::string& prefix_;
  std::optional<Error> failure_;
};

Result<void> check_sizes(const Spec& spec, std::int64_t out_channels) {
  const auto wrong = [](const std::string& text) { return Error{Errc::kUnsupported, text, ""}; };
  if (spec.blocks() == 0) return wrong("it has no blocks");
  if (spec.hidden % spec.head_width != 0) {
    return wrong(
        fmt::format("its width {} is no multiple of its head width {}", spec.hidden, spec.head_width));
  }
  if (spec.head_width % 8 != 0) {
    return wrong(fmt::format("its head width {} does not divide into four axes of pairs", spec.head_width));
  }
  if (spec.time_features % 2 != 0)
    return wrong(fmt::format("its time embedding has {} features", spec.time_features));
  if (spec.mlp_width <= 0) return wrong("its single blocks have no MLP");
  if (out_channels != spec.latent_channels) {
    return wrong(fmt::format("it takes {} channels and gives {}", spec.latent_channels, out_channels));
  }
  return {};
}

}  // namespace

std::optional<FileLayout> find_layout(const Weights& weights) {
  for (const std::string_view prefix : kPrefixes) {
    if (weights.contains(std::string(prefix) + std::string(kBflMark)))
      return FileLayout{Layout::kBfl, std::string(prefix)};
    if (weights.contains(std::string(prefix) + std::string(kDiffusersMark))) {
      return FileLayout{Layout::kDiffusers, std::string(prefix)};
    }
  }
  return std::nullopt;
}

Result<Spec> read_spec(const Weights& weights, const FileLayout& layout) {
  const SpecNames& names = layout.layout == Layout::kBfl ? kBflNames : kDiffusersNames;
  const auto in_block = [](std::string_view block, std::string_view name) {
    return std::string(block) + std::string(name);
  };
  const std::vector<std::string> all = weights.names();

  Spec spec;
  spec.double_blocks = count_blocks(all, layout.prefix + std::string(names.double_block));
  spec.single_blocks = count_blocks(all, layout.prefix + std::string(names.single_block));
  spec.takes_guidance = weights.contains(layout.prefix + std::string(names.guidance_in));

  ShapeReader reader(weights, layout.prefix);
  const Shape image_in = reader.shape(2, {std::string(names.image_in)});
  const Shape out = reader.shape(2, {std::string(names.out)});
  spec.hidden = image_in[0];
  spec.latent_channels = image_in[1];
  spec.context_channels = reader.shape(2, {std::string(names.text_in)})[1];
  spec.time_features = reader.shape(2, {std::string(names.time_in)})[1];
  if (spec.double_blocks > 0) {
    spec.head_width = reader.shape(1, {in_block(names.double_block, names.double_norm),
                                       in_block(names.double_block, names.double_norm_other)})[0];
    spec.mlp_width = reader.shape(2, {in_block(names.double_block, names.double_mlp_out)})[1];
  } else {
    spec.head_width = reader.shape(1, {in_block(names.single_block, names.single_norm),
                                       in_block(names.single_block, names.single_norm_other)})[0];
    spec.mlp_width = reader.shape(2, {in_block(names.single_block, names.single_out)})[1] - spec.hidden;
  }
  PINION_TRY_VOID(reader.check());
  auto sizes = check_sizes(spec, out[0]);
  if (!sizes.ok()) return std::move(sizes).error().in(weights.path().string());
  return spec;
}

}  // namespace pinion::models::flux2
