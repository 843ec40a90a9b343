#include <array>

#include "pinion/models/tokenizer/split_pattern.h"

namespace pinion::models {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Walks a pattern once, copying what both engines read alike.
class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> run() {
    while (at_ < pattern_.size()) {
      PINION_TRY_VOID(in_class_ ? class_member() : outside_class());
    }
    return std::move(out_);
  }

 private:
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  void copy(std::size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  Error unsupported(std::string_view construct) const {
    return Error{Errc::kUnsupported,
                 "split pattern: '" + std::string(construct) + "' at byte " + std::to_string(at_) +
                     " is not a construct this version reads",
                 "only the pre-tokenizers of byte-level BPE models such as Qwen, GPT, Llama 3 and Mistral are"
                 " supported"};
  }

  Result<void> outside_class() {
    switch (pattern_[at_]) {
      case '\\':
        return escape();
      case '(':
        return group();
      case '[':
        return open_class();
      case '{':
        return quantifier();
      case '^':
      case '$':
        return unsupported(pattern_.substr(at_, 1));  // Oniguruma's match at every line
      default:
        copy(1);
        return {};
    }
  }

  Result<void> group() {
    if (!next_is("(?")) {
      if (next_is("(*")) return unsupported("(*");
      copy(1);
      return {};
    }
    static constexpr std::array<std::string_view, 7> kSame = {"(?:",  "(?=",  "(?!", "(?>",
                                                              "(?<=", "(?<!", "(?i:"};
    for (const std::string_view start : kSame) {
      if (!next_is(start)) continue;
      copy(start.size());
      return {};
    }
    return unsupported(pattern_.substr(at_, 4));
  }

  Result<void> quantifier() {
    std::size_t end = at_ + 1;
    while (end < pattern_.size() && (is_digit(pattern_[end]) || pattern_[end] == ',')) ++end;
    const bool closed = end < pattern_.size() && pattern_[end] == '}';
    if (!closed || !is_digit(pattern_[at_ + 1])) return unsupported("{");
    // Possessive or lazy in PCRE2, a repeat of the repeat in Oniguruma.
    const std::string_view after = pattern_.substr(end + 1);
    if (after.starts_with("+") || after.starts_with("?")) return unsupported(pattern_.substr(end, 2));
    copy(end + 1 - at_);
    return {};
  }

  Result<void> open_class() {
    copy(next_is("[^") ? 2 : 1);
    in_class_ = true;
    if (next_is("]")) return unsupported("[]");
    return {};
  }

  Result<void> class_member() {
    if (next_is("[") || next_is("&&")) return unsupported(pattern_.substr(at_, 2));
    if (next_is("\\")) return escape();
    if (next_is("]")) in_class_ = false;
    copy(1);
    return {};
  }

  Result<void> escape() {
    if (at_ + 1 >= pattern_.size()) return unsupported("\\");
    const char kind = pattern_[at_ + 1];
    if (kind == 's' || kind == 'S') {
      out_ += kind == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      at_ += 2;
      return {};
    }
    if (kind == 'p' || kind == 'P') return property();
    if (kind == 'u') return code_point();
    const bool same = kind == 'd' || kind == 'D' || kind == 'r' || kind == 'n' || kind == 't' || kind == 'f';
    if (is_alphanumeric(kind) && !same) return unsupported(pattern_.substr(at_, 2));
    copy(2);
    return {};
  }

  Result<void> property() {
    std::size_t end = at_ + 3;
    while (end < pattern_.size() && (is_alphanumeric(pattern_[end]) || pattern_[end] == '_')) ++end;
    if (pattern_.substr(at_ + 2, 1) != "{" || end >= pattern_.size() || pattern_[end] != '}') {
      return unsupported(pattern_.substr(at_, 3));
    }
    copy(end + 1 - at_);
    return {};
  }

  Result<void> code_point() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    for (const char digit : digits) {
      if (!is_hex(digit)) return unsupported("\\u");
    }
    if (digits.size() != 4) return unsupported("\\u");
    out_ += "\\x{" + std::string(digits) + "}";
    at_ += 6;
    return {};
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

Result<std::string> to_pcre2(std::string_view oniguruma_pattern) { return Rewriter(oniguruma_pattern).run(); }

}  // namespace pinion::models
