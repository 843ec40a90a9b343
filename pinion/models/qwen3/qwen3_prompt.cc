#include "pinion/models/qwen3/qwen3_prompt.h"

#include "pinion/base/log.h"
#include "pinion/models/json_file.h"

namespace pinion::models::qwen3 {
namespace {

constexpr const char* kUsualPadding = "<|endoftext|>";

}  // namespace

std::string chat_text(std::string_view prompt) {
  std::string text = "<|im_start|>user\n";
  text += prompt;
  text += "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
  return text;
}

Result<std::vector<TokenId>> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt,
                                           std::size_t max_tokens) {
  PINION_TRY(Tokens tokens, tokenizer.encode(chat_text(prompt), {.max_tokens = max_tokens}));
  if (tokens.truncated) {
    spdlog::warn("the prompt has more than {} tokens: its end is cut off and has no effect", max_tokens);
  }
  return std::move(tokens.ids);
}

Result<Padding> read_padding(const std::filesystem::path& folder, const Tokenizer& tokenizer) {
  std::string token = kUsualPadding;
  Padding padding;
  const std::filesystem::path path = folder / "tokenizer_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    PINION_TRY(const nlohmann::json json, read_json_object(path));
    // An added token is written as its text or as an object with its flags.
    const nlohmann::json* text = json_member(json, "pad_token");
    if (text != nullptr && text->is_object()) text = json_member(*text, "content");
    if (text != nullptr && text->is_string()) token = text->get<std::string>();
    padding.on_the_left = json_text(json, "padding_side") == "left";
  }
  const auto id = tokenizer.find(token);
  if (!id) {
    return Error{Errc::kBadFormat,
                 folder.string() + ": the tokenizer does not know the padding token '" + token + "'",
                 "the files of the folder do not belong together"};
  }
  padding.token = *id;
  return padding;
}

}  // namespace pinion::models::qwen3
