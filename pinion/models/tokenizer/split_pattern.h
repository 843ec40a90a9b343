#pragma once
// The regular expression that cuts text into pieces before byte-pair merging.
//
// tokenizer.json writes it for the Oniguruma engine; we run it on PCRE2. Only constructs that mean the same
// in both are accepted, after rewriting the one that differs in use: \s, which is Unicode's White_Space in
// Oniguruma, while PCRE2 counts U+180E as well. Matching is bounded in steps and memory. Immutable,
// thread-safe.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pinion/base/result.h"

struct pcre2_real_code_8;

namespace pinion::models {

class SplitPattern {
 public:
  // kBadFormat for a pattern that is no regular expression, kUnsupported for a construct outside the
  // accepted set.
  static Result<SplitPattern> compile(std::string_view oniguruma_pattern);

  // A pattern that matches just this text.
  static Result<SplitPattern> literal(std::string_view text);

  // Appends to `pieces` the matches in `text` (well-formed UTF-8) and what lies between them, in order, none
  // empty. The pieces are views into `text`. kTooLarge when matching needs too many steps.
  Result<void> split(std::string_view text, std::vector<std::string_view>& pieces) const;

  // Whether the first match at the start of `text` is all of it.
  Result<bool> matches_whole(std::string_view text) const;

 private:
  explicit SplitPattern(std::shared_ptr<const pcre2_real_code_8> code) : code_(std::move(code)) {}
  static Result<SplitPattern> compile_pcre2(const std::string& pattern, std::string_view shown);

  std::shared_ptr<const pcre2_real_code_8> code_;
};

// The pattern in PCRE2's spelling. Split out for its tests.
Result<std::string> to_pcre2(std::string_view oniguruma_pattern);

}  // namespace pinion::models
