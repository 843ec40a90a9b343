#include "pinion/models/flux2_vae/flux2_vae_spec.h"

#include <fmt/format.h>

#include "pinion/models/flux2_vae/flux2_vae_names.h"
#include "pinion/models/json_file.h"

namespace pinion::models::flux2_vae {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLevels = 8;
constexpr int kMaxResnets = 16;
constexpr std::int64_t kPatch = 4;  // latent pixels in one token

std::map<std::string, FileName> index_names(const Source& source) {
  const std::vector<std::string> names = source.weights.names();
  std::map<std::string, FileName> index;
  if (source.is_bfl) {
    for (const VaeRename& rename : vae_from_bfl_names(names)) {
      index.emplace(rename.diffusers, FileName{rename.bfl, rename.is_1x1_in_bfl});
    }
  } else {
    for (const std::string& name : names) index.emplace(name, FileName{name, false});
  }
  return index;
}

// Reads sizes off the shapes. What is missing or senseless here would fail with a worse message later.
class SpecReader {
 public:
  explicit SpecReader(const Source& source) : source_(source) {}

  bool has(const std::string& name) const { return source_.names.contains(name); }

  // Extent `axis` of a tensor of that rank.
  Result<std::int64_t> extent(const std::string& name, std::size_t axis, std::size_t rank) const {
    const auto found = source_.names.find(name);
    if (found == source_.names.end()) {
      return Error{Errc::kNotFound,
                   fmt::format("{} lacks tensor '{}'", source_.weights.path().string(), name),
                   "the file is incomplete or is no FLUX.2 VAE"};
    }
    const Shape& shape = source_.weights.entry(found->second.name)->shape;
    if (shape.rank() != rank || shape[axis] < 1) {
      return Error{Errc::kBadFormat,
                   fmt::format("{}: tensor '{}' has shape {}", source_.weights.path().string(),
                               found->second.name, to_string(shape)),
                   "the file is damaged or is another model"};
    }
    return shape[axis];
  }

  Result<HalfSpec> half(const std::string& prefix, const std::string& level_word,
                        const std::string& resample_word) const {
    HalfSpec spec;
    PINION_TRY(spec.in_channels, extent(prefix + "conv_in.weight", 1, 4));
    PINION_TRY(spec.first_channels, extent(prefix + "conv_in.weight", 0, 4));
    PINION_TRY(spec.mid_channels, extent(prefix + "mid_block.resnets.0.conv1.weight", 0, 4));
    PINION_TRY(spec.out_channels, extent(prefix + "conv_out.weight", 0, 4));
    spec.mid_attention = has(prefix + "mid_block.attentions.0.to_q.weight");
    for (int index = 0; index < kMaxLevels; ++index) {
      const std::string level = fmt::format("{}{}.{}.", prefix, level_word, index);
      if (!has(level + "resnets.0.conv1.weight")) break;
      LevelSpec& read = spec.levels.emplace_back();
      PINION_TRY(read.channels, extent(level + "resnets.0.conv1.weight", 0, 4));
      while (read.resnets < kMaxResnets && has(fmt::format("{}resnets.{}.conv1.weight", level, read.resnets)))
        ++read.resnets;
      read.resamples = has(level + resample_word + ".0.conv.weight");
    }
    if (spec.levels.empty()) {
      return Error{Errc::kUnsupported,
                   source_.weights.path().string() + " has no " + level_word + " and is no FLUX.2 VAE", ""};
    }
    return spec;
  }

 private:
  const Source& source_;
};

int resamplings(const HalfSpec& half) {
  int count = 0;
  for (const LevelSpec& level : half.levels) count += level.resamples ? 1 : 0;
  return count;
}

Result<void> check_groups(const HalfSpec& half, std::int64_t groups, const std::string& where) {
  std::vector<std::int64_t> widths = {half.first_channels, half.mid_channels};
  for (const LevelSpec& level : half.levels) widths.push_back(level.channels);
  for (const std::int64_t width : widths) {
    if (width % groups == 0) continue;
    return Error{Errc::kUnsupported,
                 fmt::format("{}: {} channels do not divide into {} norm groups", where, width, groups),
                 "config.json must say norm_num_groups"};
  }
  return {};
}

Result<void> check(const Spec& spec, const std::string& where) {
  const auto do_not_fit = [&](const std::string& what) {
    return Error{Errc::kBadFormat, where + ": " + what + " do not fit together", "the file is damaged"};
  };
  PINION_TRY_VOID(check_groups(spec.decoder, spec.norm_groups, where));
  if (spec.decoder.first_channels != spec.decoder.mid_channels)
    return do_not_fit("the decoder's first layers");
  if (!spec.encoder) return {};
  PINION_TRY_VOID(check_groups(*spec.encoder, spec.norm_groups, where));
  if (spec.encoder->levels.back().channels != spec.encoder->mid_channels)
    return do_not_fit("the encoder's last layers");
  if (spec.encoder->out_channels != 2 * spec.latent_channels ||
      resamplings(*spec.encoder) != resamplings(spec.decoder)) {
    return do_not_fit("encoder and decoder");
  }
  return {};
}

Result<Spec> read_spec(const Source& source) {
  const SpecReader reader(source);
  const std::string where = source.weights.path().string();
  if (!reader.has("bn.running_mean") || !reader.has("decoder.conv_in.weight")) {
    return Error{Errc::kUnsupported, where + " is no FLUX.2 VAE",
                 "a FLUX.2 VAE has the tensors bn.running_mean and decoder.conv_in.weight"};
  }
  Spec spec;
  PINION_TRY(spec.decoder, reader.half("decoder.", "up_blocks", "upsamplers"));
  if (reader.has("encoder.conv_in.weight")) {
    PINION_TRY(spec.encoder, reader.half("encoder.", "down_blocks", "downsamplers"));
  }
  spec.latent_channels = spec.decoder.in_channels;
  spec.quant_conv = reader.has("quant_conv.weight");
  spec.post_quant_conv = reader.has("post_quant_conv.weight");
  PINION_TRY(const std::int64_t packed, reader.extent("bn.running_mean", 0, 1));
  if (packed != kPatch * spec.latent_channels) {
    return Error{Errc::kUnsupported,
                 fmt::format("{}: {} latent channels with statistics of {}, expected {}", where,
                             spec.latent_channels, packed, kPatch * spec.latent_channels),
                 "only FLUX.2 VAEs with patches of 2 by 2 can be run"};
  }
  return spec;
}

// What names and shapes do not tell.
Result<void> read_config(const fs::path& path, Spec& spec) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  PINION_TRY(const nlohmann::json json, read_json_object(path));
  const std::string where = path.string();
  const std::string activation = json_text(json, "act_fn");
  if (!activation.empty() && activation != "silu") {
    return Error{Errc::kUnsupported, where + ": its act_fn is '" + activation + "'", "use a FLUX.2 VAE"};
  }
  if (const nlohmann::json* groups = json_member(json, "norm_num_groups")) {
    if (!groups->is_number_unsigned() || groups->get<std::uint64_t>() - 1 > 4096) {
      return Error{Errc::kBadFormat, where + ": 'norm_num_groups' is not a number from 1 to 4096",
                   "the file is damaged"};
    }
    spec.norm_groups = groups->get<std::int64_t>();
  }
  if (const nlohmann::json* epsilon = json_member(json, "batch_norm_eps")) {
    if (!epsilon->is_number() || !(epsilon->get<double>() >= 0) || epsilon->get<double>() > 1) {
      return Error{Errc::kBadFormat, where + ": 'batch_norm_eps' is not a number from 0 to 1",
                   "the file is damaged"};
    }
    spec.batch_norm_epsilon = epsilon->get<double>();
  }
  return {};
}

}  // namespace

Result<Source> open_source(const fs::path& path) {
  std::error_code ignored;
  const fs::path inner = path / "vae";
  const fs::path place = fs::is_directory(inner, ignored) ? inner : path;
  PINION_TRY(Weights weights, Weights::open(place));
  Source source{std::move(weights), {}, false, {}};
  source.is_bfl = has_bfl_vae_names(source.weights.names());
  source.names = index_names(source);
  PINION_TRY(source.spec, read_spec(source));
  if (fs::is_directory(place, ignored)) PINION_TRY_VOID(read_config(place / "config.json", source.spec));
  PINION_TRY_VOID(check(source.spec, place.string()));
  return source;
}

}  // namespace pinion::models::flux2_vae
