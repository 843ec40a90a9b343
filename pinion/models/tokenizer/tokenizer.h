#pragma once
// Text to token ids, exactly as the Hugging Face `tokenizers` library does it for byte-level BPE. No
// libtorch. Immutable after opening, thread-safe.
//
// Unicode tables are those of PCRE2 and utf8proc: characters younger than them may be cut differently.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "pinion/models/tokenizer/added_tokens.h"
#include "pinion/models/tokenizer/bpe.h"

namespace pinion::models {

struct TokenizeOptions {
  bool add_special_tokens = true;     // those that the file's template puts around every text
  std::size_t max_tokens = SIZE_MAX;  // cut off on the right, the template's tokens included
};

struct Tokens {
  std::vector<TokenId> ids;
  bool truncated = false;
};

class Tokenizer {
 public:
  static constexpr std::size_t kMaxTextBytes = std::size_t{4} << 20;

  // Reads a tokenizer.json. Errors name the file.
  static Result<Tokenizer> open(const std::filesystem::path& tokenizer_json);

  // The same from its content.
  static Result<Tokenizer> parse(std::string_view json);

  // Any bytes: ill-formed UTF-8 is replaced by U+FFFD first. kTooLarge over kMaxTextBytes.
  Result<Tokens> encode(std::string_view text, const TokenizeOptions& options = {}) const;

  // The id of an added token or of a token as the vocabulary spells it.
  std::optional<TokenId> find(std::string_view token) const;

  // One more than the highest id there is.
  TokenId id_limit() const { return id_limit_; }

 private:
  struct Step {
    bool byte_level;
    bool add_prefix_space;
    std::optional<SplitPattern> pattern;
  };

  Tokenizer(BpeModel model, AddedTokenMatcher in_raw_text, AddedTokenMatcher in_normalized_text)
      : model_(std::move(model)),
        in_raw_text_(std::move(in_raw_text)),
        in_normalized_text_(std::move(in_normalized_text)) {}
  static Result<Tokenizer> make(TokenizerSpec spec);
  Result<void> encode_raw(std::string_view text, std::vector<TokenId>& ids) const;
  Result<void> encode_normalized(std::string_view text, std::vector<TokenId>& ids) const;
  Result<void> encode_plain(std::string_view text, std::vector<TokenId>& ids) const;

  BpeModel model_;
  AddedTokenMatcher in_raw_text_;
  AddedTokenMatcher in_normalized_text_;
  std::vector<Step> steps_;
  std::map<std::string, TokenId, std::less<>> added_ids_;
  std::vector<TokenId> before_;
  std::vector<TokenId> after_;
  TokenId id_limit_ = 0;
  bool nfc_ = false;
};

}  // namespace pinion::models
