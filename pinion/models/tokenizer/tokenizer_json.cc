#include "pinion/models/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "pinion/base/bytes.h"

namespace pinion::models {
namespace {

using Json = nlohmann::json;

// What "ByteLevel" splits by when it is asked to split: the expression of GPT-2.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr int kMaxSequenceDepth = 4;

Error bad(const std::string& text) {
  return Error{Errc::kBadFormat, "tokenizer.json: " + text, "the file is damaged or not a tokenizers file"};
}

Error unsupported(const std::string& text) {
  return Error{Errc::kUnsupported, "tokenizer.json: " + text, "only byte-level BPE tokenizers are supported"};
}

// Member `key` of `object`, or nullptr if it is absent or null.
const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<bool> flag(const Json& object, const char* key, bool fallback) {
  const Json* value = member(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return bad(std::string("'") + key + "' is not true or false");
  return value->get<bool>();
}

// The string member `key`, empty if absent.
Result<std::string> text_of(const Json& object, const char* key) {
  const Json* value = member(object, key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return bad(std::string("'") + key + "' is not a string");
  return value->get<std::string>();
}

Result<TokenId> token_id(const Json& value, const std::string& token) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT32_MAX)) {
    return bad("the id of token '" + token.substr(0, 100) + "' is not a number from 0 to 2147483647");
  }
  return value.get<TokenId>();
}

Result<std::pair<std::string, std::string>> parse_merge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return std::pair(text.substr(0, space), text.substr(space + 1));
    }
  }
  return bad("a merge is neither \"a b\" nor [\"a\", \"b\"]");
}

Result<void> parse_model(const Json& model, TokenizerSpec& spec) {
  PINION_TRY(const std::string type, text_of(model, "type"));
  const Json* vocabulary = member(model, "vocab");
  const Json* merges = member(model, "merges");
  if (type != "BPE" && !(type.empty() && merges != nullptr))
    return unsupported("its model is '" + type + "'");
  if (vocabulary == nullptr || !vocabulary->is_object()) return bad("the model has no vocabulary");
  if (merges == nullptr || !merges->is_array()) return bad("the model has no list of merges");
  PINION_TRY(const bool byte_fallback, flag(model, "byte_fallback", false));
  if (byte_fallback) return unsupported("it falls back to byte tokens (byte_fallback)");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    PINION_TRY(const std::string affix, text_of(model, key));
    if (!affix.empty()) return unsupported(std::string("it uses ") + key);
  }
  if (const Json* dropout = member(model, "dropout"); dropout != nullptr && *dropout != 0) {
    return unsupported("it drops merges at random (dropout)");
  }
  PINION_TRY(spec.unknown_token, text_of(model, "unk_token"));
  PINION_TRY(spec.fuse_unknown, flag(model, "fuse_unk", false));
  PINION_TRY(spec.ignore_merges, flag(model, "ignore_merges", false));
  spec.vocabulary.reserve(vocabulary->size());
  for (const auto& [token, value] : vocabulary->items()) {
    PINION_TRY(const TokenId id, token_id(value, token));
    spec.vocabulary.emplace(token, id);
  }
  spec.merges.reserve(merges->size());
  for (const Json& merge : *merges) {
    PINION_TRY(auto pair, parse_merge(merge));
    spec.merges.push_back(std::move(pair));
  }
  return {};
}

Result<void> parse_normalizer(const Json& normalizer, TokenizerSpec& spec, int depth = 0) {
  PINION_TRY(const std::string type, text_of(normalizer, "type"));
  if (type == "NFC") {
    spec.nfc = true;
    return {};
  }
  const Json* parts = member(normalizer, "normalizers");
  if (type != "Sequence" || parts == nullptr || !parts->is_array() || depth >= kMaxSequenceDepth) {
    return unsupported("its normalizer is '" + type + "'");
  }
  for (const Json& part : *parts) PINION_TRY_VOID(parse_normalizer(part, spec, depth + 1));
  return {};
}

Result<PreTokenizerStep> parse_split(const Json& split) {
  PINION_TRY(const std::string behavior, text_of(split, "behavior"));
  PINION_TRY(const bool invert, flag(split, "invert", false));
  if (behavior != "Isolated" || invert) {
    return unsupported("its pre-tokenizer splits with behavior '" + behavior + "'" +
                       (invert ? ", inverted" : ""));
  }
  const Json* pattern = member(split, "pattern");
  if (pattern == nullptr) return bad("a split has no pattern");
  PreTokenizerStep step;
  PINION_TRY(step.split_pattern, text_of(*pattern, "Regex"));
  if (step.split_pattern.empty()) {
    PINION_TRY(step.split_pattern, text_of(*pattern, "String"));
    step.pattern_is_literal = true;
  }
  if (step.split_pattern.empty()) return bad("a split has neither a Regex nor a String");
  return step;
}

Result<PreTokenizerStep> parse_byte_level(const Json& byte_level) {
  PreTokenizerStep step;
  step.byte_level = true;
  PINION_TRY(step.add_prefix_space, flag(byte_level, "add_prefix_space", true));
  PINION_TRY(const bool use_regex, flag(byte_level, "use_regex", true));
  if (use_regex) step.split_pattern = kGpt2Pattern;
  return step;
}

Result<void> parse_pre_tokenizer(const Json& pre_tokenizer, TokenizerSpec& spec, int depth = 0) {
  PINION_TRY(const std::string type, text_of(pre_tokenizer, "type"));
  if (type == "Split") {
    PINION_TRY(PreTokenizerStep step, parse_split(pre_tokenizer));
    spec.steps.push_back(std::move(step));
    return {};
  }
  if (type == "ByteLevel") {
    PINION_TRY(PreTokenizerStep step, parse_byte_level(pre_tokenizer));
    spec.steps.push_back(std::move(step));
    return {};
  }
  const Json* parts = member(pre_tokenizer, "pretokenizers");
  if (type != "Sequence" || parts == nullptr || !parts->is_array() || depth >= kMaxSequenceDepth) {
    return unsupported("its pre-tokenizer is '" + type + "'");
  }
  if (parts->size() > 16) return unsupported("its pre-tokenizer has more than 16 steps");
  for (const Json& part : *parts) PINION_TRY_VOID(parse_pre_tokenizer(part, spec, depth + 1));
  return {};
}

Result<void> check_steps(const std::vector<PreTokenizerStep>& steps) {
  const auto is_byte_level = [](const PreTokenizerStep& step) { return step.byte_level; };
  const auto count = std::count_if(steps.begin(), steps.end(), is_byte_level);
  if (count != 1 || !steps.back().byte_level)
    return unsupported("its pre-tokenizer does not end in one ByteLevel");
  return {};
}

// TemplateProcessing's "single": special tokens around the one text.
Result<void> parse_template(const Json& processor, TokenizerSpec& spec) {
  const Json* pieces = member(processor, "single");
  const Json* known = member(processor, "special_tokens");
  if (pieces == nullptr || !pieces->is_array()) return bad("the template has no 'single'");
  bool text_seen = false;
  for (const Json& piece : *pieces) {
    if (member(piece, "Sequence") != nullptr) {
      if (text_seen) return unsupported("its template repeats the text");
      text_seen = true;
      continue;
    }
    const Json* special = member(piece, "SpecialToken");
    if (special == nullptr) return bad("a piece of the template is neither Sequence nor SpecialToken");
    PINION_TRY(const std::string name, text_of(*special, "id"));
    const Json* definition = known == nullptr ? nullptr : member(*known, name.c_str());
    const Json* ids = definition == nullptr ? nullptr : member(*definition, "ids");
    if (ids == nullptr || !ids->is_array()) return bad("the template's token '" + name + "' has no ids");
    for (const Json& value : *ids) {
      PINION_TRY(const TokenId id, token_id(value, name));
      (text_seen ? spec.after : spec.before).push_back(id);
    }
  }
  if (!text_seen) return unsupported("its template leaves out the text");
  return {};
}

Result<void> parse_post_processor(const Json& processor, TokenizerSpec& spec, int depth = 0) {
  PINION_TRY(const std::string type, text_of(processor, "type"));
  if (type == "ByteLevel") return {};  // only about offsets, which we do not report
  if (type == "TemplateProcessing") {
    if (!spec.before.empty() || !spec.after.empty()) return unsupported("it has several templates");
    return parse_template(processor, spec);
  }
  const Json* parts = member(processor, "processors");
  if (type != "Sequence" || parts == nullptr || !parts->is_array() || depth >= kMaxSequenceDepth) {
    return unsupported("its post-processor is '" + type + "'");
  }
  for (const Json& part : *parts) PINION_TRY_VOID(parse_post_processor(part, spec, depth + 1));
  return {};
}

Result<AddedToken> parse_added_token(const Json& value) {
  AddedToken token;
  PINION_TRY(token.content, text_of(value, "content"));
  const Json* id = member(value, "id");
  if (id == nullptr) return bad("added token '" + token.content.substr(0, 100) + "' has no id");
  PINION_TRY(token.id, token_id(*id, token.content));
  PINION_TRY(token.single_word, flag(value, "single_word", false));
  PINION_TRY(token.lstrip, flag(value, "lstrip", false));
  PINION_TRY(token.rstrip, flag(value, "rstrip", false));
  PINION_TRY(const bool special, flag(value, "special", false));
  PINION_TRY(token.normalized, flag(value, "normalized", !special));
  return token;
}

Result<void> parse_added_tokens(const Json& list, TokenizerSpec& spec) {
  if (!list.is_array()) return bad("'added_tokens' is not a list");
  for (const Json& value : list) {
    PINION_TRY(AddedToken token, parse_added_token(value));
    if (token.content.empty()) continue;
    // The vocabulary has the last word, as in the reference implementation.
    if (const auto known = spec.vocabulary.find(token.content); known != spec.vocabulary.end())
      token.id = known->second;
    spec.added_tokens.push_back(std::move(token));
  }
  return {};
}

}  // namespace

Result<TokenizerSpec> parse_tokenizer_json(std::string_view text) {
  if (text.size() > kMaxTokenizerJsonBytes) {
    return Error{Errc::kTooLarge,
                 "tokenizer.json has " + std::to_string(text.size()) + " bytes, the limit is " +
                     std::to_string(kMaxTokenizerJsonBytes),
                 ""};
  }
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded() || !root.is_object()) return bad("not a JSON object");
  TokenizerSpec spec;
  const Json* model = member(root, "model");
  if (model == nullptr) return bad("it has no model");
  PINION_TRY_VOID(parse_model(*model, spec));
  if (const Json* normalizer = member(root, "normalizer"))
    PINION_TRY_VOID(parse_normalizer(*normalizer, spec));
  const Json* pre_tokenizer = member(root, "pre_tokenizer");
  if (pre_tokenizer == nullptr) return unsupported("it has no pre-tokenizer");
  PINION_TRY_VOID(parse_pre_tokenizer(*pre_tokenizer, spec));
  PINION_TRY_VOID(check_steps(spec.steps));
  if (const Json* processor = member(root, "post_processor"))
    PINION_TRY_VOID(parse_post_processor(*processor, spec));
  if (const Json* added = member(root, "added_tokens")) PINION_TRY_VOID(parse_added_tokens(*added, spec));
  return spec;
}

}  // namespace pinion::models
