#include "pinion/models/tokenizer/added_tokens.h"

#include <algorithm>

#include "pinion/models/tokenizer/unicode_text.h"

namespace pinion::models {
namespace {

constexpr std::size_t kMaxContentBytes = std::size_t{4} << 20;

// Word characters as Unicode's regular expression standard (UTS #18, annex C) has them.
constexpr std::string_view kWordCharacter = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

std::size_t white_space_at_end(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const std::string_view rest = text.substr(0, text.size() - bytes);
    const std::size_t last = last_character_bytes(rest);
    if (!is_white_space(rest.substr(rest.size() - last))) break;
    bytes += last;
  }
  return bytes;
}

std::size_t white_space_at_start(std::string_view text) {
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const std::size_t first = first_character_bytes(text.substr(bytes));
    if (!is_white_space(text.substr(bytes, first))) break;
    bytes += first;
  }
  return bytes;
}

}  // namespace

Result<AddedTokenMatcher> AddedTokenMatcher::make(std::vector<AddedToken> tokens) {
  PINION_TRY(SplitPattern word, SplitPattern::compile(kWordCharacter));
  AddedTokenMatcher matcher(std::move(word));
  matcher.tokens_ = std::move(tokens);
  matcher.nodes_.emplace_back();
  std::size_t content_bytes = 0;
  for (std::size_t i = 0; i < matcher.tokens_.size(); ++i) {
    content_bytes += matcher.tokens_[i].content.size();
    if (content_bytes > kMaxContentBytes) {
      return Error{Errc::kTooLarge, "tokenizer.json: the added tokens are over 4 MiB of text", ""};
    }
    std::size_t node = 0;
    for (const char byte : matcher.tokens_[i].content) {
      const auto [child, is_new] = matcher.nodes_[node].children.try_emplace(byte, matcher.nodes_.size());
      node = child->second;
      if (is_new) matcher.nodes_.emplace_back();
    }
    if (node != 0) matcher.nodes_[node].token = i;
  }
  return matcher;
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  const AddedToken* longest = nullptr;
  std::size_t node = 0;
  for (const char byte : text) {
    const auto child = nodes_[node].children.find(byte);
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    if (nodes_[node].token) longest = &tokens_[*nodes_[node].token];
  }
  return longest;
}

Result<bool> AddedTokenMatcher::touches_word(std::string_view before, std::string_view after) const {
  for (const std::string_view neighbour : {before.substr(before.size() - last_character_bytes(before)),
                                           after.substr(0, first_character_bytes(after))}) {
    if (neighbour.empty()) continue;
    PINION_TRY(const bool is_word, word_.matches_whole(neighbour));
    if (is_word) return true;
  }
  return false;
}

Result<std::vector<AddedTokenMatcher::Segment>> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<Segment> segments;
  std::size_t done = 0;  // where the text that is in `segments` ends
  std::size_t at = 0;
  while (at < text.size()) {
    const AddedToken* token = tokens_.empty() ? nullptr : longest_at(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word) {
      PINION_TRY(const bool touches, touches_word(text.substr(0, begin), text.substr(end)));
      if (touches) continue;
    }
    if (token->lstrip) begin = std::max(done, begin - white_space_at_end(text.substr(0, begin)));
    if (token->rstrip) end += white_space_at_start(text.substr(end));
    if (done < begin) segments.push_back({text.substr(done, begin - done), std::nullopt});
    segments.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
  return segments;
}

}  // namespace pinion::models
