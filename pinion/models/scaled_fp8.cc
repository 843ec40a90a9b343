#include "pinion/models/scaled_fp8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace pinion::models {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::array<std::string_view, 2> kScaleEndings = {".weight_scale", ".scale_weight"};
constexpr std::array<std::string_view, 7> kNoteEndings = {".weight_scale", ".scale_weight", ".input_scale",
                                                          ".scale_input",  ".comfy_quant",  ".weight_scale_2",
                                                          "scaled_fp8"};
constexpr std::string_view kMetadataKey = "_quantization_metadata";

struct Format {
  DType dtype;
  std::string_view name;
};
constexpr std::array<Format, 2> kFormats = {
    {{DType::kF8E4M3, "float8_e4m3fn"}, {DType::kF8E5M2, "float8_e5m2"}}};

// The `format` that a JSON note gives, or empty if it gives none.
Result<std::string> format_in(const nlohmann::json& note, const std::string& where) {
  if (!note.is_object()) return Error{Errc::kBadFormat, where + " is not a JSON object", ""};
  const auto format = note.find("format");
  if (format == note.end()) return std::string();
  if (!format->is_string()) return Error{Errc::kBadFormat, where + ": format is not a string", ""};
  return format->get<std::string>();
}

Result<std::string> noted_format(const Weights& weights, const std::string& layer) {
  if (weights.contains(layer + ".comfy_quant")) {
    PINION_TRY(const Tensor note, weights.tensor(layer + ".comfy_quant"));
    return format_in(nlohmann::json::parse(as_text(note.view().span()), nullptr, false),
                     layer + ".comfy_quant");
  }
  const auto metadata = weights.metadata().find(std::string(kMetadataKey));
  if (metadata == weights.metadata().end()) return std::string();
  const auto json = nlohmann::json::parse(metadata->second, nullptr, false);
  if (!json.is_object())
    return Error{Errc::kBadFormat, std::string(kMetadataKey) + " is not a JSON object", ""};
  const auto layers = json.find("layers");
  if (layers == json.end() || !layers->is_object() || !layers->contains(layer)) return std::string();
  return format_in((*layers)[layer], fmt::format("{} of {}", kMetadataKey, layer));
}

}  // namespace

Result<std::string> find_scale(const Weights& weights, const SafetensorsEntry& tensor) {
  if (!tensor.name.ends_with(kWeight)) return std::string();
  const std::string layer = tensor.name.substr(0, tensor.name.size() - kWeight.size());

  PINION_TRY(const std::string format, noted_format(weights, layer));
  if (!format.empty()) {
    const bool known = std::any_of(kFormats.begin(), kFormats.end(), [&](const Format& f) {
      return f.name == format && f.dtype == tensor.dtype;
    });
    if (!known) {
      return Error{Errc::kUnsupported,
                   fmt::format("tensor '{}' is stored as {} in {}, which cannot be read yet", tensor.name,
                               format, name(tensor.dtype)),
                   "use the bf16 or fp8 file of the model"};
    }
  }
  if (tensor.dtype != DType::kF8E4M3 && tensor.dtype != DType::kF8E5M2) return std::string();
  for (const std::string_view ending : kScaleEndings) {
    const SafetensorsEntry* scale = weights.entry(layer + std::string(ending));
    if (scale == nullptr) continue;
    const std::int64_t rows = tensor.shape.rank() == 0 ? 1 : tensor.shape[0];
    if (!is_float(scale->dtype) || (scale->shape.elements() != 1 && scale->shape.elements() != rows)) {
      return Error{Errc::kBadFormat,
                   fmt::format("tensor '{}' has {} {} values, expected one float or one per row", scale->name,
                               to_string(scale->shape), name(scale->dtype)),
                   ""};
    }
    return scale->name;
  }
  return std::string();
}

bool is_quantisation_note(std::string_view name) {
  return std::any_of(kNoteEndings.begin(), kNoteEndings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

std::string scaled_fp8_note(DType dtype) {
  for (const Format& format : kFormats) {
    if (format.dtype == dtype) return nlohmann::json{{"format", format.name}}.dump();
  }
  return "";
}

}  // namespace pinion::models
