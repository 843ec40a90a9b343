#include "pinion/models/text_encoder.h"

#include <array>

#include "pinion/models/json_file.h"
#include "pinion/models/qwen3/qwen3_text_encoder.h"

namespace pinion::models {
namespace {

using Opener = Result<std::unique_ptr<TextEncoder>> (*)(const EncoderSource&, const StageOptions&,
                                                        TextPadding);

struct EncoderKind {
  std::string_view model_type;  // in config.json
  Opener open;
};

constexpr std::array<EncoderKind, 1> kKinds = {{{"qwen3", qwen3::open_encoder}}};

}  // namespace

Result<std::unique_ptr<TextEncoder>> open_text_encoder(const std::filesystem::path& model_folder,
                                                       const StageOptions& options, TextPadding padding) {
  const EncoderSource source{model_folder / "text_encoder", model_folder / "tokenizer"};
  std::error_code ignored;
  if (!std::filesystem::is_directory(source.weights_folder, ignored)) {
    return Error{Errc::kNotFound, model_folder.string() + " has no text_encoder folder",
                 "name a diffusers folder, or give the text embeddings yourself"};
  }
  PINION_TRY(const nlohmann::json config, read_json_object(source.weights_folder / "config.json"));
  const std::string type = json_text(config, "model_type");
  for (const EncoderKind& kind : kKinds) {
    if (type == kind.model_type) return kind.open(source, options, padding);
  }
  return Error{Errc::kUnsupported,
               source.weights_folder.string() + ": a text encoder of type '" + type + "' cannot be run",
               "text encoders that can be run: qwen3"};
}

}  // namespace pinion::models
