#include "pinion/models/tokenizer/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pinion/models/tokenizer/tokenizer.h"

namespace pinion::models {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json small_tokenizer() {
  return json::parse(R"({
    "added_tokens": [{"id": 3, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

struct BadCase {
  const char* where;  // JSON pointer
  const char* value;
  Errc code;
  const char* says;
};

class BadTokenizer : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadTokenizer, IsRefusedByName) {
  json tokenizer = small_tokenizer();
  ASSERT_TRUE(Tokenizer::parse(tokenizer.dump()).ok());
  tokenizer[json::json_pointer(GetParam().where)] = json::parse(GetParam().value);
  const auto result = Tokenizer::parse(tokenizer.dump());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, GetParam().code) << result.error().message();
  EXPECT_THAT(result.error().text, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadTokenizer,
    ::testing::Values(
        BadCase{"/model", "null", Errc::kBadFormat, "no model"},
        BadCase{"/model", "[]", Errc::kUnsupported, "its model is ''"},
        BadCase{"/model/type", "\"Unigram\"", Errc::kUnsupported, "its model is 'Unigram'"},
        BadCase{"/model/type", "7", Errc::kBadFormat, "'type' is not a string"},
        BadCase{"/model/byte_fallback", "true", Errc::kUnsupported, "byte_fallback"},
        BadCase{"/model/dropout", "0.1", Errc::kUnsupported, "dropout"},
        BadCase{"/model/continuing_subword_prefix", "\"##\"", Errc::kUnsupported,
                "continuing_subword_prefix"},
        BadCase{"/model/end_of_word_suffix", "\"</w>\"", Errc::kUnsupported, "end_of_word_suffix"},
        BadCase{"/model/unk_token", "\"<unk>\"", Errc::kBadFormat, "unknown token '<unk>' is not in"},
        BadCase{"/model/fuse_unk", "1", Errc::kBadFormat, "'fuse_unk' is not true or false"},
        BadCase{"/model/vocab", "[]", Errc::kBadFormat, "no vocabulary"},
        BadCase{"/model/vocab/a", "-1", Errc::kBadFormat, "id of token 'a'"},
        BadCase{"/model/vocab/a", "2147483648", Errc::kBadFormat, "id of token 'a'"},
        BadCase{"/model/vocab/a", "1.5", Errc::kBadFormat, "id of token 'a'"},
        BadCase{"/model/merges", "null", Errc::kBadFormat, "no list of merges"},
        BadCase{"/model/merges", "[\"ab\"]", Errc::kBadFormat, "a merge is neither"},
        BadCase{"/model/merges", "[\"a b c\"]", Errc::kBadFormat, "a merge is neither"},
        BadCase{"/model/merges", "[[\"a\"]]", Errc::kBadFormat, "a merge is neither"},
        BadCase{"/model/merges", "[[\"a\", 1]]", Errc::kBadFormat, "a merge is neither"},
        BadCase{"/model/merges", "[[\"b\", \"a\"]]", Errc::kBadFormat, "the merge 'ba' is not in"},
        BadCase{"/normalizer", R"({"type": "NFKC"})", Errc::kUnsupported, "normalizer is 'NFKC'"},
        BadCase{"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Lowercase"}]})",
                Errc::kUnsupported, "'Lowercase'"},
        BadCase{"/pre_tokenizer", "null", Errc::kUnsupported, "no pre-tokenizer"},
        BadCase{"/pre_tokenizer", R"({"type": "Whitespace"})", Errc::kUnsupported, "'Whitespace'"},
        BadCase{"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": []})", Errc::kUnsupported,
                "one ByteLevel"},
        BadCase{"/pre_tokenizer",
                R"({"type": "Split", "behavior": "Removed", "invert": true, "pattern": {"Regex": "a"}})",
                Errc::kUnsupported, "'Removed', inverted"},
        BadCase{"/pre_tokenizer",
                R"({"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {}})",
                Errc::kBadFormat, "neither a Regex nor a String"},
        BadCase{"/pre_tokenizer",
                R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "behavior": "Isolated",
                "invert": false, "pattern": {"Regex": "("}}, {"type": "ByteLevel", "add_prefix_space": false}]})",
                Errc::kBadFormat, "split pattern '('"},
        BadCase{"/post_processor", R"({"type": "BertProcessing"})", Errc::kUnsupported, "'BertProcessing'"},
        BadCase{"/post_processor", R"({"type": "TemplateProcessing", "single": []})", Errc::kUnsupported,
                "leaves out"},
        BadCase{
            "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {}})",
            Errc::kBadFormat, "token 'x' has no ids"},
        BadCase{"/added_tokens", "{}", Errc::kBadFormat, "'added_tokens' is not a list"},
        BadCase{"/added_tokens/0/id", "null", Errc::kBadFormat, "'<end>' has no id"},
        BadCase{"/added_tokens/0/lstrip", "\"yes\"", Errc::kBadFormat, "'lstrip' is not true or false"}));

TEST(TokenizerJson, RefusesWhatIsNoJsonObject) {
  for (const std::string text : {"", "[]", "{", "\xFF", "null", "{\"model\":"}) {
    const auto result = parse_tokenizer_json(text);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, Errc::kBadFormat);
  }
  // Deep nesting must not use up the stack.
  EXPECT_FALSE(parse_tokenizer_json("{\"model\":" + std::string(1'000'000, '[')).ok());
  EXPECT_FALSE(
      parse_tokenizer_json("{\"model\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}").ok());
  json nested = small_tokenizer();
  for (int depth = 0; depth < 6; ++depth) {
    nested["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {nested["pre_tokenizer"]}}};
  }
  EXPECT_EQ(parse_tokenizer_json(nested.dump()).error().code, Errc::kUnsupported);
}

TEST(TokenizerJson, EveryTruncationOfARealFileIsRefused) {
  const std::string text = small_tokenizer().dump();
  for (std::size_t bytes = 0; bytes < text.size(); ++bytes) {
    EXPECT_FALSE(Tokenizer::parse(std::string_view(text).substr(0, bytes)).ok()) << bytes;
  }
}

}  // namespace
}  // namespace pinion::models
