#include "pinion/models/tokenizer/split_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinion::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string_view> split(std::string_view pattern, std::string_view text) {
  const auto compiled = SplitPattern::compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.error().message();
  std::vector<std::string_view> pieces;
  EXPECT_TRUE(compiled->split(text, pieces).ok());
  return pieces;
}

TEST(SplitPattern, KeepsMatchesAndWhatLiesBetween) {
  EXPECT_THAT(split("[0-9]+", "ab12c3"), ElementsAre("ab", "12", "c", "3"));
  EXPECT_THAT(split("x", "abc"), ElementsAre("abc"));
  EXPECT_THAT(split("x", ""), IsEmpty());
}

TEST(SplitPattern, MovesOnAfterEmptyMatches) {
  EXPECT_THAT(split("a*", "baab"), ElementsAre("b", "aa", "b"));
  EXPECT_THAT(split("(?=b)", "abab"), ElementsAre("a", "ba", "b"));
  EXPECT_THAT(split("x?", "\xC3\xA9\xC3\xA9"), ElementsAre("\xC3\xA9", "\xC3\xA9"));
}

TEST(SplitPattern, HasOnigurumasWhiteSpace) {
  EXPECT_THAT(split(R"(\s+)",
                    "a\xE1\xA0\x8E"
                    "b\xC2\x85"
                    "c"),
              ElementsAre("a\xE1\xA0\x8E"
                          "b",
                          "\xC2\x85", "c"));
  EXPECT_EQ(to_pcre2(R"([^\s\p{L}]\S)").value(), R"([^\p{White_Space}\p{L}]\P{White_Space})");
  EXPECT_EQ(to_pcre2(R"(\u00e9)").value(), R"(\x{00e9})");
}

TEST(SplitPattern, LiteralsMeanThemselves) {
  const auto pattern = SplitPattern::literal(".*[");
  ASSERT_TRUE(pattern.ok());
  std::vector<std::string_view> pieces;
  ASSERT_TRUE(pattern->split("a.*[b.", pieces).ok());
  EXPECT_THAT(pieces, ElementsAre("a", ".*[", "b."));
}

TEST(SplitPattern, RefusesWhatTheTwoEnginesReadDifferently) {
  for (const char* pattern :
       {R"(\w+)", R"(\h)",  R"(\K)",  R"(\C)",  R"(\b)",      R"(\v)",   R"(\x41)", R"(\1)",
        "^a",     "a$",     "(?i)a",  "(?m:a)", "(?<name>a)", "(*UTF)a", "a{,3}",   "a{2}+",
        "a{2}?",  "[a[b]]", "[a&&b]", "[]a]",   R"(\p)",      R"(\pL)",  R"(a\)"}) {
    const auto compiled = SplitPattern::compile(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_EQ(compiled.error().code, Errc::kUnsupported) << pattern << ": " << compiled.error().message();
  }
}

TEST(SplitPattern, RefusesWhatIsNoPattern) {
  for (const char* pattern : {"(", "[a", "a{3,1}", "*", R"(\p{Klingon})", "a)", "\xFF"}) {
    const auto compiled = SplitPattern::compile(pattern);
    ASSERT_FALSE(compiled.ok()) << pattern;
    EXPECT_EQ(compiled.error().code, Errc::kBadFormat) << pattern << ": " << compiled.error().message();
  }
  EXPECT_EQ(SplitPattern::compile(std::string(20'000, 'a')).error().code, Errc::kTooLarge);
  EXPECT_FALSE(SplitPattern::compile(std::string(100, '(') + std::string(100, ')')).ok());
}

TEST(SplitPattern, GivesUpOnExplodingPatterns) {
  const auto pattern = SplitPattern::compile("(?:a+)+[bc]");
  ASSERT_TRUE(pattern.ok());
  std::vector<std::string_view> pieces;
  const auto result = pattern->split(std::string(64, 'a'), pieces);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Errc::kTooLarge);
  EXPECT_THAT(result.error().text, HasSubstr("too many steps"));
}

}  // namespace
}  // namespace pinion::models
