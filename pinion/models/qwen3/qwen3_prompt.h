#pragma once
// From a prompt to the token ids that a FLUX.2 Klein text encoder sees. No libtorch. Thread-safe.

#include <string_view>
#include <vector>

#include "pinion/models/tokenizer/tokenizer.h"

namespace pinion::models::qwen3 {

// What Qwen3's chat template makes of one user message when an answer is asked for without thinking.
std::string chat_text(std::string_view prompt);

// The tokens of chat_text(prompt), no padding. More than `max_tokens` are cut off on the right, with a
// warning in the log.
Result<std::vector<TokenId>> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt,
                                           std::size_t max_tokens);

// What a model's tokenizer folder says about padding.
struct Padding {
  TokenId token = 0;
  bool on_the_left = false;
};

// From `tokenizer_config.json` in `folder` (pad_token, padding_side); without that file <|endoftext|> on the
// right. kBadFormat when the tokenizer does not know the token.
Result<Padding> read_padding(const std::filesystem::path& folder, const Tokenizer& tokenizer);

}  // namespace pinion::models::qwen3
