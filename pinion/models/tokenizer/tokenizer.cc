#include "pinion/models/tokenizer/tokenizer.h"

#include <algorithm>
#include <list>

#include "pinion/base/file_io.h"
#include "pinion/models/tokenizer/unicode_text.h"

namespace pinion::models {
namespace {

TokenId highest_id(const TokenizerSpec& spec) {
  TokenId highest = -1;
  for (const auto& [token, id] : spec.vocabulary) highest = std::max(highest, id);
  for (const AddedToken& token : spec.added_tokens) highest = std::max(highest, token.id);
  return highest;
}

}  // namespace

Result<Tokenizer> Tokenizer::open(const std::filesystem::path& tokenizer_json) {
  PINION_TRY(const Bytes bytes, read_file(tokenizer_json, kMaxTokenizerJsonBytes));
  auto tokenizer = parse(as_text(bytes));
  if (!tokenizer.ok()) return std::move(tokenizer).error().in(tokenizer_json.parent_path().string());
  return tokenizer;
}

Result<Tokenizer> Tokenizer::parse(std::string_view json) {
  PINION_TRY(TokenizerSpec spec, parse_tokenizer_json(json));
  return make(std::move(spec));
}

Result<Tokenizer> Tokenizer::make(TokenizerSpec spec) {
  const TokenId highest = highest_id(spec);
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  for (const AddedToken& token : spec.added_tokens) {
    if (!token.normalized) {
      raw.push_back(token);
      continue;
    }
    normalized.push_back(token);
    if (!spec.nfc) continue;
    PINION_TRY(normalized.back().content, to_nfc(token.content));
  }
  PINION_TRY(AddedTokenMatcher in_raw_text, AddedTokenMatcher::make(std::move(raw)));
  PINION_TRY(AddedTokenMatcher in_normalized_text, AddedTokenMatcher::make(std::move(normalized)));
  PINION_TRY(BpeModel model, BpeModel::make(spec));

  Tokenizer tokenizer(std::move(model), std::move(in_raw_text), std::move(in_normalized_text));
  for (const PreTokenizerStep& step : spec.steps) {
    Step made{step.byte_level, step.add_prefix_space, std::nullopt};
    if (!step.split_pattern.empty()) {
      PINION_TRY(SplitPattern pattern, step.pattern_is_literal ? SplitPattern::literal(step.split_pattern)
                                                               : SplitPattern::compile(step.split_pattern));
      made.pattern = std::move(pattern);
    }
    tokenizer.steps_.push_back(std::move(made));
  }
  for (const AddedToken& token : spec.added_tokens)
    tokenizer.added_ids_.insert_or_assign(token.content, token.id);
  tokenizer.before_ = std::move(spec.before);
  tokenizer.after_ = std::move(spec.after);
  tokenizer.id_limit_ = highest == INT32_MAX ? highest : highest + 1;
  tokenizer.nfc_ = spec.nfc;
  return tokenizer;
}

Result<Tokens> Tokenizer::encode(std::string_view text, const TokenizeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return Error{Errc::kTooLarge,
                 "a text of " + std::to_string(text.size()) +
                     " bytes is too long to tokenize, the limit is " + std::to_string(kMaxTextBytes),
                 ""};
  }
  Tokens tokens;
  PINION_TRY_VOID(encode_raw(repaired_utf8(text), tokens.ids));
  const std::size_t around = options.add_special_tokens ? before_.size() + after_.size() : 0;
  const std::size_t room = options.max_tokens > around ? options.max_tokens - around : 0;
  if (tokens.ids.size() > room) {
    tokens.ids.resize(room);
    tokens.truncated = true;
  }
  if (options.add_special_tokens) {
    tokens.ids.insert(tokens.ids.begin(), before_.begin(), before_.end());
    tokens.ids.insert(tokens.ids.end(), after_.begin(), after_.end());
  }
  return tokens;
}

std::optional<TokenId> Tokenizer::find(std::string_view token) const {
  if (const auto added = added_ids_.find(token); added != added_ids_.end()) return added->second;
  return model_.find(token);
}

Result<void> Tokenizer::encode_raw(std::string_view text, std::vector<TokenId>& ids) const {
  PINION_TRY(const auto segments, in_raw_text_.split(text));
  for (const AddedTokenMatcher::Segment& segment : segments) {
    if (segment.token) {
      ids.push_back(*segment.token);
    } else if (nfc_) {
      PINION_TRY(const std::string normalized, to_nfc(segment.text));
      PINION_TRY_VOID(encode_normalized(normalized, ids));
    } else {
      PINION_TRY_VOID(encode_normalized(segment.text, ids));
    }
  }
  return {};
}

Result<void> Tokenizer::encode_normalized(std::string_view text, std::vector<TokenId>& ids) const {
  PINION_TRY(const auto segments, in_normalized_text_.split(text));
  for (const AddedTokenMatcher::Segment& segment : segments) {
    if (segment.token) {
      ids.push_back(*segment.token);
    } else {
      PINION_TRY_VOID(encode_plain(segment.text, ids));
    }
  }
  return {};
}

Result<void> Tokenizer::encode_plain(std::string_view text, std::vector<TokenId>& ids) const {
  std::list<std::string> prefixed;  // owns the pieces that were given a space; their addresses stay
  std::vector<std::string_view> pieces = {text};
  for (const Step& step : steps_) {
    if (step.add_prefix_space) {
      for (std::string_view& piece : pieces) {
        if (!piece.starts_with(' ')) piece = prefixed.emplace_back(" " + std::string(piece));
      }
    }
    if (!step.pattern) continue;
    std::vector<std::string_view> cut;
    for (const std::string_view piece : pieces) PINION_TRY_VOID(step.pattern->split(piece, cut));
    pieces = std::move(cut);
  }
  for (const std::string_view piece : pieces) model_.encode(piece, ids);
  return {};
}

}  // namespace pinion::models
