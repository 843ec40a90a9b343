#pragma once
// Finds added tokens in a text: at every place the longest one, left to right, never overlapping. Immutable,
// thread-safe.

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "pinion/models/tokenizer/split_pattern.h"
#include "pinion/models/tokenizer/tokenizer_json.h"

namespace pinion::models {

class AddedTokenMatcher {
 public:
  // A stretch of text: an added token, or text between them.
  struct Segment {
    std::string_view text;
    std::optional<TokenId> token;
  };

  // kTooLarge when the contents are too long in all.
  static Result<AddedTokenMatcher> make(std::vector<AddedToken> tokens);

  // All of `text` (well-formed UTF-8) in order. The segments are views into it.
  Result<std::vector<Segment>> split(std::string_view text) const;

 private:
  // A tree of bytes: where a token ends, the node says which.
  struct Node {
    std::map<char, std::size_t> children;
    std::optional<std::size_t> token;
  };

  explicit AddedTokenMatcher(SplitPattern word) : word_(std::move(word)) {}
  const AddedToken* longest_at(std::string_view text) const;
  Result<bool> touches_word(std::string_view before, std::string_view after) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  SplitPattern word_;  // one word character
};

}  // namespace pinion::models
