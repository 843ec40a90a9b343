#pragma once
// Byte-pair merging: bytes start as one token each, and the best-ranked neighbouring pair is merged until
// none is left. O(n log n) in the length of a piece. Immutable, thread-safe.
//
// Byte-level alphabet (GPT-2): vocabularies spell bytes as printable characters; bytes 33–126, 161–172 and
// 174–255 are the characters of those numbers, all others, in order, are U+0100, U+0101, …

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pinion/models/tokenizer/tokenizer_json.h"

namespace pinion::models {

class BpeModel {
 public:
  // Takes vocabulary and merges out of `spec`. kBadFormat when a merge or the unknown token is not in the
  // vocabulary.
  static Result<BpeModel> make(TokenizerSpec& spec);

  // Appends the tokens of one piece of text, given as its bytes.
  void encode(std::string_view bytes, std::vector<TokenId>& tokens) const;

  // The token that the vocabulary spells so (in the byte-level alphabet).
  std::optional<TokenId> find(std::string_view spelling) const;

 private:
  struct Merge {
    std::uint32_t rank;
    TokenId merged;
  };

  void append_symbols(std::string_view bytes, std::vector<TokenId>& symbols) const;

  std::unordered_map<std::string, TokenId> vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // by both ids
  std::array<std::optional<TokenId>, 256> byte_tokens_;
  std::optional<TokenId> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

// How vocabularies spell these bytes.
std::string byte_level_spelling(std::string_view bytes);

}  // namespace pinion::models
