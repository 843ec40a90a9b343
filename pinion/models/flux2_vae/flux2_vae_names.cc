#include "pinion/models/flux2_vae/flux2_vae_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace pinion::models {
namespace {

struct Pair {
  std::string_view diffusers;
  std::string_view bfl;
};

constexpr Pair kResnet[] = {{"norm1", "norm1"},
                            {"conv1", "conv1"},
                            {"norm2", "norm2"},
                            {"conv2", "conv2"},
                            {"conv_shortcut", "nin_shortcut"}};
constexpr Pair kAttention[] = {
    {"group_norm", "norm"}, {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"}, {"to_out.0", "proj_out"}};
constexpr Pair kResample[] = {{"conv", "conv"}};
constexpr Pair kEnds[] = {{"conv_in", "conv_in"}, {"conv_out", "conv_out"}, {"conv_norm_out", "norm_out"}};
constexpr Pair kQuant[] = {{"quant_conv", "quant_conv"}};
constexpr Pair kPostQuant[] = {{"post_quant_conv", "post_quant_conv"}};
constexpr Pair kBatchNorm[] = {{"bn", "bn"}};

// Where modules stand. # is a number that both layouts share; ~ is a decoder level, which BFL counts from the
// other end. A module that stands in two places has its written place first.
struct Place {
  std::string_view diffusers;
  std::string_view bfl;
  std::span<const Pair> modules;
  bool is_attention = false;
};

constexpr Place kPlaces[] = {
    {"encoder.down_blocks.#.resnets.#.", "encoder.down.#.block.#.", kResnet},
    {"encoder.down_blocks.#.downsamplers.0.", "encoder.down.#.downsample.", kResample},
    {"encoder.mid_block.resnets.0.", "encoder.mid.block_1.", kResnet},
    {"encoder.mid_block.resnets.1.", "encoder.mid.block_2.", kResnet},
    {"encoder.mid_block.attentions.0.", "encoder.mid.attn_1.", kAttention, true},
    {"encoder.", "encoder.", kEnds},
    {"decoder.up_blocks.~.resnets.#.", "decoder.up.~.block.#.", kResnet},
    {"decoder.up_blocks.~.upsamplers.0.", "decoder.up.~.upsample.", kResample},
    {"decoder.mid_block.resnets.0.", "decoder.mid.block_1.", kResnet},
    {"decoder.mid_block.resnets.1.", "decoder.mid.block_2.", kResnet},
    {"decoder.mid_block.attentions.0.", "decoder.mid.attn_1.", kAttention, true},
    {"decoder.", "decoder.", kEnds},
    {"", "encoder.", kQuant},
    {"", "", kQuant},
    {"", "decoder.", kPostQuant},
    {"", "", kPostQuant},
    {"", "", kBatchNorm},
};

constexpr std::string_view kParameters[] = {"weight", "bias", "running_mean", "running_var",
                                            "num_batches_tracked"};

constexpr std::size_t kMaxDigits = 3;

struct Numbers {
  std::array<std::string_view, 2> text;
  std::size_t count = 0;
};

// Whether `name` is `pattern` with numbers in its holes, and which.
std::optional<Numbers> match(std::string_view pattern, std::string_view name) {
  Numbers numbers;
  for (const char expected : pattern) {
    if (expected != '#' && expected != '~') {
      if (!name.starts_with(expected)) return std::nullopt;
      name.remove_prefix(1);
      continue;
    }
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0 || digits > kMaxDigits || (digits > 1 && name[0] == '0')) return std::nullopt;
    numbers.text[numbers.count++] = name.substr(0, digits);
    name.remove_prefix(digits);
  }
  return name.empty() ? std::optional(numbers) : std::nullopt;
}

int to_int(std::string_view digits) {
  int value = 0;
  for (const char digit : digits) value = value * 10 + (digit - '0');
  return value;
}

std::string fill(std::string_view pattern, const Numbers& numbers, int decoder_levels) {
  std::string name;
  std::size_t next = 0;
  for (const char c : pattern) {
    if (c == '#') {
      name += numbers.text[next++];
    } else if (c == '~') {
      name += std::to_string(decoder_levels - 1 - to_int(numbers.text[next++]));
    } else {
      name += c;
    }
  }
  return name;
}

enum class Layout { kDiffusers, kBfl };

struct Found {
  std::string diffusers_stem, bfl_stem;  // patterns
  Numbers numbers;
  std::string_view parameter;
  bool is_1x1_in_bfl = false;
  bool is_decoder_level = false;
};

std::optional<Found> find_module(std::string_view name, Layout layout) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view stem = name.substr(0, dot);
  const std::string_view parameter = name.substr(dot + 1);
  if (std::find(std::begin(kParameters), std::end(kParameters), parameter) == std::end(kParameters))
    return std::nullopt;
  for (const Place& place : kPlaces) {
    for (const Pair& module : place.modules) {
      Found found;
      found.diffusers_stem = std::string(place.diffusers) + std::string(module.diffusers);
      found.bfl_stem = std::string(place.bfl) + std::string(module.bfl);
      const auto numbers = match(layout == Layout::kDiffusers ? found.diffusers_stem : found.bfl_stem, stem);
      if (!numbers) continue;
      found.numbers = *numbers;
      found.parameter = parameter;
      found.is_1x1_in_bfl = place.is_attention && module.bfl != "norm" && parameter == "weight";
      found.is_decoder_level = place.diffusers.find('~') != std::string_view::npos;
      return found;
    }
  }
  return std::nullopt;
}

int count_decoder_levels(const std::vector<std::string>& names, Layout layout) {
  int levels = 0;
  for (const std::string& name : names) {
    const auto found = find_module(name, layout);
    if (found && found->is_decoder_level) levels = std::max(levels, 1 + to_int(found->numbers.text[0]));
  }
  return levels;
}

VaeRename rename(const Found& found, int decoder_levels) {
  const auto name = [&](std::string_view stem) {
    return fmt::format("{}.{}", fill(stem, found.numbers, decoder_levels), found.parameter);
  };
  return {name(found.diffusers_stem), name(found.bfl_stem), found.is_1x1_in_bfl};
}

}  // namespace

Result<std::vector<VaeRename>> vae_to_bfl_names(const std::vector<std::string>& diffusers_names) {
  const int levels = count_decoder_levels(diffusers_names, Layout::kDiffusers);
  std::vector<VaeRename> renames;
  for (const std::string& name : diffusers_names) {
    const auto found = find_module(name, Layout::kDiffusers);
    if (!found) {
      return Error{Errc::kBadFormat, "tensor '" + name + "' is not part of a FLUX.2 VAE",
                   "name a FLUX.2 VAE folder"};
    }
    renames.push_back(rename(*found, levels));
    renames.back().diffusers = name;
  }
  return renames;
}

std::vector<VaeRename> vae_from_bfl_names(const std::vector<std::string>& bfl_names) {
  const int levels = count_decoder_levels(bfl_names, Layout::kBfl);
  std::vector<VaeRename> renames;
  for (const std::string& name : bfl_names) {
    if (const auto found = find_module(name, Layout::kBfl)) {
      renames.push_back(rename(*found, levels));
      renames.back().bfl = name;
    }
  }
  return renames;
}

bool has_bfl_vae_names(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.starts_with("decoder.up."); });
}

}  // namespace pinion::models
