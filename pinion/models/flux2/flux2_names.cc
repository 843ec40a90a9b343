#include <fmt/format.h>

#include "pinion/models/flux2/flux2_spec.h"

namespace pinion::models::flux2 {
namespace {

// One canonical tensor beside the diffusers tensors that hold its rows, in order.
struct NameRow {
  std::string canonical;
  Shape shape;
  std::vector<std::string> diffusers;
  bool halves_swapped = false;  // diffusers stores the second half of the rows first
};

using NameTable = std::vector<NameRow>;

struct GroupNames {
  std::string group;
  NameTable rows;
};

NameTable embed_names(const Spec& spec) {
  return {{"img_in.weight", {spec.hidden, spec.latent_channels}, {"x_embedder.weight"}},
          {"txt_in.weight", {spec.hidden, spec.context_channels}, {"context_embedder.weight"}}};
}

NameTable time_names(const Spec& spec) {
  const Shape in = {spec.hidden, spec.time_features};
  const Shape out = {spec.hidden, spec.hidden};
  NameTable rows = {
      {"time_in.in_layer.weight", in, {"time_guidance_embed.timestep_embedder.linear_1.weight"}},
      {"time_in.out_layer.weight", out, {"time_guidance_embed.timestep_embedder.linear_2.weight"}}};
  if (spec.takes_guidance) {
    rows.push_back(
        {"guidance_in.in_layer.weight", in, {"time_guidance_embed.guidance_embedder.linear_1.weight"}});
    rows.push_back(
        {"guidance_in.out_layer.weight", out, {"time_guidance_embed.guidance_embedder.linear_2.weight"}});
  }
  return rows;
}

NameTable double_modulation_names(const Spec& spec) {
  const Shape shape = {6 * spec.hidden, spec.hidden};
  return {{"double_stream_modulation_img.lin.weight", shape, {"double_stream_modulation_img.linear.weight"}},
          {"double_stream_modulation_txt.lin.weight", shape, {"double_stream_modulation_txt.linear.weight"}}};
}

NameTable single_modulation_names(const Spec& spec) {
  return {{"single_stream_modulation.lin.weight",
           {3 * spec.hidden, spec.hidden},
           {"single_stream_modulation.linear.weight"}}};
}

NameTable finish_names(const Spec& spec) {
  return {{"final_layer.adaLN_modulation.1.weight",
           {2 * spec.hidden, spec.hidden},
           {"norm_out.linear.weight"},
           /*halves_swapped=*/true},
          {"final_layer.linear.weight", {spec.latent_channels, spec.hidden}, {"proj_out.weight"}}};
}

NameTable double_block_names(const Spec& spec, int index) {
  const std::string bfl = fmt::format("double_blocks.{}.", index);
  const std::string diffusers = fmt::format("transformer_blocks.{}.", index);
  const std::string attention = diffusers + "attn.";
  const Shape qkv = {3 * spec.hidden, spec.hidden};
  const Shape square = {spec.hidden, spec.hidden};
  const Shape head = {spec.head_width};
  const Shape mlp_in = {2 * spec.mlp_width, spec.hidden};
  const Shape mlp_out = {spec.hidden, spec.mlp_width};
  return {
      {bfl + "img_attn.norm.query_norm.scale", head, {attention + "norm_q.weight"}},
      {bfl + "img_attn.norm.key_norm.scale", head, {attention + "norm_k.weight"}},
      {bfl + "img_attn.qkv.weight",
       qkv,
       {attention + "to_q.weight", attention + "to_k.weight", attention + "to_v.weight"}},
      {bfl + "img_attn.proj.weight", square, {attention + "to_out.0.weight"}},
      {bfl + "img_mlp.0.weight", mlp_in, {diffusers + "ff.linear_in.weight"}},
      {bfl + "img_mlp.2.weight", mlp_out, {diffusers + "ff.linear_out.weight"}},
      {bfl + "txt_attn.norm.query_norm.scale", head, {attention + "norm_added_q.weight"}},
      {bfl + "txt_attn.norm.key_norm.scale", head, {attention + "norm_added_k.weight"}},
      {bfl + "txt_attn.qkv.weight",
       qkv,
       {attention + "add_q_proj.weight", attention + "add_k_proj.weight", attention + "add_v_proj.weight"}},
      {bfl + "txt_attn.proj.weight", square, {attention + "to_add_out.weight"}},
      {bfl + "txt_mlp.0.weight", mlp_in, {diffusers + "ff_context.linear_in.weight"}},
      {bfl + "txt_mlp.2.weight", mlp_out, {diffusers + "ff_context.linear_out.weight"}},
  };
}

NameTable single_block_names(const Spec& spec, int index) {
  const std::string bfl = fmt::format("single_blocks.{}.", index);
  const std::string attention = fmt::format("single_transformer_blocks.{}.attn.", index);
  return {
      {bfl + "norm.query_norm.scale", {spec.head_width}, {attention + "norm_q.weight"}},
      {bfl + "norm.key_norm.scale", {spec.head_width}, {attention + "norm_k.weight"}},
      {bfl + "linear1.weight",
       {3 * spec.hidden + 2 * spec.mlp_width, spec.hidden},
       {attention + "to_qkv_mlp_proj.weight"}},
      {bfl + "linear2.weight", {spec.hidden, spec.hidden + spec.mlp_width}, {attention + "to_out.weight"}},
  };
}

std::vector<GroupNames> all_names(const Spec& spec) {
  std::vector<GroupNames> groups = {{"embed", embed_names(spec)},
                                    {"time", time_names(spec)},
                                    {"double modulation", double_modulation_names(spec)},
                                    {"single modulation", single_modulation_names(spec)}};
  for (int i = 0; i < spec.double_blocks; ++i)
    groups.push_back({block_group(i), double_block_names(spec, i)});
  for (int i = 0; i < spec.single_blocks; ++i) {
    groups.push_back({block_group(spec.double_blocks + i), single_block_names(spec, i)});
  }
  groups.push_back({"finish", finish_names(spec)});
  return groups;
}

// Norm weights end in `.scale` in BFL's own files and in `.weight` in files that ComfyUI saved.
std::vector<Spelling> bfl_spellings(const NameRow& row, const std::string& prefix) {
  constexpr std::string_view kScale = ".scale";
  const std::int64_t rows = row.shape[0];
  std::vector<Spelling> spellings = {{RowRange{prefix + row.canonical, rows, 0, rows}}};
  if (row.canonical.ends_with(kScale)) {
    const std::string stem = row.canonical.substr(0, row.canonical.size() - kScale.size());
    spellings.push_back({RowRange{prefix + stem + ".weight", rows, 0, rows}});
  }
  return spellings;
}

Spelling diffusers_spelling(const NameRow& row, const std::string& prefix) {
  if (row.halves_swapped) {
    const std::int64_t rows = row.shape[0];
    const std::string name = prefix + row.diffusers.front();
    return {RowRange{name, rows, rows / 2, rows / 2}, RowRange{name, rows, 0, rows / 2}};
  }
  Spelling spelling;
  const std::int64_t rows = row.shape[0] / static_cast<std::int64_t>(row.diffusers.size());
  for (const std::string& name : row.diffusers) spelling.push_back(RowRange{prefix + name, rows, 0, rows});
  return spelling;
}

}  // namespace

std::string block_group(int block) { return fmt::format("block {}", block); }

std::vector<WantedGroup> wanted_groups(const Spec& spec, const FileLayout& layout) {
  std::vector<WantedGroup> wanted;
  for (const GroupNames& names : all_names(spec)) {
    WantedGroup& group = wanted.emplace_back(WantedGroup{names.group, {}});
    for (const NameRow& row : names.rows) {
      std::vector<Spelling> spellings;
      if (layout.layout == Layout::kBfl) {
        spellings = bfl_spellings(row, layout.prefix);
      } else {
        spellings = {diffusers_spelling(row, layout.prefix)};
      }
      group.tensors.push_back(WantedTensor{row.canonical, row.shape, std::move(spellings)});
    }
  }
  return wanted;
}

}  // namespace pinion::models::flux2
