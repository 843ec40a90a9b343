#pragma once
// Prompts to text embeddings. One encoder is used by one thread at a time.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "pinion/models/stage.h"

namespace pinion::models {

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  virtual std::int64_t channels() const = 0;  // of the embeddings

  // Embeddings [prompts, text tokens, channels] on the CPU in the encoder's dtype.
  virtual Result<Tensor> encode(const std::vector<std::string>& prompts) = 0;
};

// How prompts are laid out in the fixed number of text tokens (both forms are in use and give the same
// scene): kThroughEncoder pads on the right and encodes the padding too, as diffusers does;
// kAfterEncoder encodes the bare prompt and pads the embeddings with zeros on the left, as ComfyUI does.
enum class TextPadding { kThroughEncoder, kAfterEncoder };

// Where the parts of a text encoder lie.
struct EncoderSource {
  std::filesystem::path weights_folder;  // config.json beside safetensors
  std::filesystem::path tokenizer_folder;
};

// Opens the text encoder and tokenizer of a diffusers folder (`text_encoder/`, `tokenizer/`), whose kind is
// the model_type of its config.json. kNotFound, kUnsupported or kBadFormat name the folder or file.
Result<std::unique_ptr<TextEncoder>> open_text_encoder(const std::filesystem::path& model_folder,
                                                       const StageOptions& options,
                                                       TextPadding padding = TextPadding::kThroughEncoder);

}  // namespace pinion::models
