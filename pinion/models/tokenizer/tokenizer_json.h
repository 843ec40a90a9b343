#pragma once
// What a Hugging Face tokenizers file (`tokenizer.json`) says, checked and in our words. Only byte-level BPE:
// the format has far more, and what we do not do is refused by name. Plain data.
//
// Format: https://huggingface.co/docs/tokenizers (normalizer, pre_tokenizer, model, post_processor,
// added_tokens).

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pinion/base/result.h"

namespace pinion::models {

using TokenId = std::int32_t;

// Text that is one token wherever it stands, found before anything else happens.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and that after it
  bool normalized = false;   // looked for in the normalised text, in normalised form
};

// One step of cutting text into the pieces that are merged on their own. The last step is always byte level,
// which is where text becomes bytes.
struct PreTokenizerStep {
  bool byte_level = false;
  bool add_prefix_space = false;  // byte level: a piece that does not start with a space gets one
  std::string split_pattern;      // Oniguruma syntax; empty: this step does not split
  bool pattern_is_literal = false;
};

struct TokenizerSpec {
  std::unordered_map<std::string, TokenId> vocabulary;      // tokens spelled in the byte-level alphabet
  std::vector<std::pair<std::string, std::string>> merges;  // by rank, best first
  std::string unknown_token;                                // empty: unknown bytes are dropped
  bool fuse_unknown = false;
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges would give
  bool nfc = false;
  std::vector<PreTokenizerStep> steps;
  std::vector<AddedToken> added_tokens;
  std::vector<TokenId> before;  // added around every text when special tokens are asked for
  std::vector<TokenId> after;
};

inline constexpr std::size_t kMaxTokenizerJsonBytes = std::size_t{64} << 20;

// kTooLarge over kMaxTokenizerJsonBytes, kBadFormat for JSON that is not a tokenizer, kUnsupported for a
// tokenizer of another kind.
Result<TokenizerSpec> parse_tokenizer_json(std::string_view text);

}  // namespace pinion::models
