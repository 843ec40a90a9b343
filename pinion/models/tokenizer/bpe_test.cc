#include "pinion/models/tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinion::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// a=0 b=1 c=2 ab=3 bc=4 abc=5, "bc" ranked before "ab".
TokenizerSpec small_spec() {
  TokenizerSpec spec;
  spec.vocabulary = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}};
  spec.merges = {{"b", "c"}, {"a", "b"}, {"a", "bc"}};
  return spec;
}

std::vector<TokenId> encode(TokenizerSpec spec, std::string_view bytes) {
  const auto model = BpeModel::make(spec);
  EXPECT_TRUE(model.ok());
  std::vector<TokenId> tokens;
  model->encode(bytes, tokens);
  return tokens;
}

TEST(Bpe, MergesByRankThenFromTheLeft) {
  EXPECT_THAT(encode(small_spec(), "abc"), ElementsAre(5));
  EXPECT_THAT(encode(small_spec(), "abab"), ElementsAre(3, 3));
  EXPECT_THAT(encode(small_spec(), "abbc"), ElementsAre(3, 4));
  EXPECT_THAT(encode(small_spec(), ""), IsEmpty());
  TokenizerSpec spec;
  spec.vocabulary = {{"a", 0}, {"aa", 1}};
  spec.merges = {{"a", "a"}};
  EXPECT_THAT(encode(spec, "aaaaa"), ElementsAre(1, 1, 0));
}

TEST(Bpe, WholePieceWinsOnlyWhenMergesAreIgnored) {
  TokenizerSpec spec = small_spec();
  spec.vocabulary["cab"] = 6;
  EXPECT_THAT(encode(spec, "cab"), ElementsAre(2, 3));
  spec.ignore_merges = true;
  EXPECT_THAT(encode(spec, "cab"), ElementsAre(6));
}

TEST(Bpe, DropsOrMarksUnknownBytes) {
  TokenizerSpec spec = small_spec();
  EXPECT_THAT(encode(spec, "axxb"), ElementsAre(3));  // as the reference implementation does
  spec.vocabulary["?"] = 7;
  spec.unknown_token = "?";
  EXPECT_THAT(encode(spec, "axxb"), ElementsAre(0, 7, 7, 1));
  spec.fuse_unknown = true;
  EXPECT_THAT(encode(spec, "axxb"), ElementsAre(0, 7, 1));
}

TEST(Bpe, SpellsEveryByte) {
  EXPECT_EQ(byte_level_spelling(" a\n"),
            "\xC4\xA0"
            "a"
            "\xC4\x8A");  // Ġ and Ċ
  EXPECT_EQ(byte_level_spelling("\xFF"), "\xC3\xBF");
  EXPECT_EQ(byte_level_spelling("\xAD"), "\xC5\x83");  // the last of those that are not printable
}

TEST(Bpe, NamesWhatTheVocabularyLacks) {
  for (const std::pair<std::string, std::string>& merge :
       {std::pair<std::string, std::string>{"x", "a"}, {"a", "x"}, {"a", "c"}}) {
    TokenizerSpec spec = small_spec();
    spec.merges.push_back(merge);
    const auto model = BpeModel::make(spec);
    ASSERT_FALSE(model.ok());
    EXPECT_EQ(model.error().code, Errc::kBadFormat);
    EXPECT_THAT(model.error().text, HasSubstr("not in the vocabulary"));
  }
}

TEST(Bpe, TakesALongPieceInItsStride) {
  // A quadratic merge loop would need minutes here.
  TokenizerSpec spec;
  spec.vocabulary = {{"a", 0}, {"aa", 1}, {"aaaa", 2}};
  spec.merges = {{"a", "a"}, {"aa", "aa"}};
  const std::vector<TokenId> tokens = encode(spec, std::string(1'000'000, 'a'));
  EXPECT_EQ(tokens, std::vector<TokenId>(250'000, 2));
}

}  // namespace
}  // namespace pinion::models
