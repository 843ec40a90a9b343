#include "pinion/models/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "pinion/base/sha256.h"
#include "pinion/base/stopwatch.h"

namespace pinion::models {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kFixtures = std::filesystem::path(PINION_SOURCE_DIR) / "tests/fixtures/tokenizer";

Tokenizer open(const std::string& name) {
  auto tokenizer = Tokenizer::open(kFixtures / (name + ".json"));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message();
  return std::move(tokenizer).value();
}

std::string text_of(const json& test_case) {
  if (test_case.contains("text")) return test_case["text"].get<std::string>();
  return std::string(as_text(from_hex(test_case["hex"].get<std::string>()).value()));
}

class EveryTokenizer : public ::testing::TestWithParam<const char*> {};

// The ids are those of the `tokenizers` library (tools/make_text_vae_fixtures.py).
TEST_P(EveryTokenizer, EqualsTheReferenceOnAllTexts) {
  const Tokenizer tokenizer = open(GetParam());
  std::ifstream file(kFixtures / "cases.json");
  const json cases = json::parse(file);
  ASSERT_GE(cases.size(), 500u);
  for (const json& test_case : cases) {
    const auto tokens = tokenizer.encode(text_of(test_case));
    ASSERT_TRUE(tokens.ok()) << tokens.error().message();
    EXPECT_EQ(tokens->ids, test_case[GetParam()].get<std::vector<TokenId>>()) << test_case.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryTokenizer, ::testing::Values("qwen", "gpt2", "llama3", "unknown"));

TEST(Tokenizer, FindsTokensByTheirText) {
  const Tokenizer tokenizer = open("qwen");
  const auto end = tokenizer.find("<|im_end|>");
  ASSERT_TRUE(end.has_value());
  EXPECT_THAT(tokenizer.encode("<|im_end|>")->ids, ElementsAre(*end));
  EXPECT_LT(*end, tokenizer.id_limit());
  EXPECT_TRUE(tokenizer.find("a").has_value());
  EXPECT_FALSE(tokenizer.find("<|nothing|>").has_value());
}

TEST(Tokenizer, TruncatesOnTheRightAndKeepsTheTemplate) {
  const Tokenizer tokenizer = open("llama3");
  const auto whole = tokenizer.encode("1 2 3 4 5 6 7 8");
  ASSERT_TRUE(whole.ok());
  EXPECT_FALSE(whole->truncated);
  const auto cut = tokenizer.encode("1 2 3 4 5 6 7 8", {.max_tokens = 5});
  ASSERT_TRUE(cut.ok());
  EXPECT_TRUE(cut->truncated);
  EXPECT_THAT(cut->ids,
              ElementsAre(whole->ids[0], whole->ids[1], whole->ids[2], whole->ids[3], whole->ids.back()));
  const auto bare = tokenizer.encode("1 2", {.add_special_tokens = false});
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->ids.size(), tokenizer.encode("1 2")->ids.size() - 2);
}

TEST(Tokenizer, LongTextsTakeTimeInProportion) {
  const Tokenizer tokenizer = open("qwen");
  for (const std::string& unit :
       {std::string("a"), std::string(" "), std::string("\n "), std::string("!"), std::string("ab 1\n")}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    const Stopwatch watch;
    const auto tokens = tokenizer.encode(text);
    ASSERT_TRUE(tokens.ok()) << tokens.error().message();
    EXPECT_GT(tokens->ids.size(), 1000u);
    EXPECT_LT(watch.elapsed_ms(), 30'000) << '"' << unit << '"';  // quadratic would be hours
  }
  const auto too_long = tokenizer.encode(std::string(Tokenizer::kMaxTextBytes + 1, 'a'));
  ASSERT_FALSE(too_long.ok());
  EXPECT_EQ(too_long.error().code, Errc::kTooLarge);
}

TEST(Tokenizer, NamesTheFileThatIsWrong) {
  const auto missing = Tokenizer::open(kFixtures / "missing.json");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
  EXPECT_THAT(missing.error().text, HasSubstr("missing.json"));
  const auto wrong = Tokenizer::open(kFixtures / "cases.json");
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text, HasSubstr(kFixtures.string()));
}

}  // namespace
}  // namespace pinion::models
