#include "pinion/pipeline/model_folder.h"

#include <nlohmann/json.hpp>

#include "pinion/base/file_io.h"

namespace pinion::pipeline {
namespace {

constexpr std::size_t kMaxConfigBytes = 1 << 20;

// The JSON object in `path`, or an empty one if there is no such file.
Result<nlohmann::json> read_config(const std::filesystem::path& path) {
  auto bytes = read_file(path, kMaxConfigBytes);
  if (!bytes.ok()) {
    if (bytes.error().code == Errc::kNotFound) return nlohmann::json::object();
    return std::move(bytes).error();
  }
  nlohmann::json config = nlohmann::json::parse(as_text(*bytes), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    return Error{Errc::kBadFormat, path.string() + " is not a JSON object", "download the model again"};
  return config;
}

}  // namespace

Result<ModelDefaults> read_defaults(const std::filesystem::path& model) {
  ModelDefaults defaults;
  if (!std::filesystem::is_directory(model)) return defaults;
  PINION_TRY(const nlohmann::json index, read_config(model / "model_index.json"));
  if (const auto found = index.find("is_distilled"); found != index.end() && found->is_boolean()) {
    defaults.distilled = found->get<bool>();
  }
  PINION_TRY(const nlohmann::json vae, read_config(model / "vae" / "config.json"));
  if (const auto found = vae.find("sample_size"); found != vae.end() && found->is_number_unsigned()) {
    const auto side = found->get<std::uint64_t>();
    if (side >= 16 && side <= 8192) defaults.side_pixels = static_cast<int>(side / 16 * 16);
  }
  return defaults;
}

}  // namespace pinion::pipeline
