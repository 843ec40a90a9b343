#include "pinion/models/tokenizer/unicode_text.h"

#include <gtest/gtest.h>

namespace pinion::models {
namespace {

constexpr const char* kReplaced = "\xEF\xBF\xBD";

TEST(RepairedUtf8, LeavesWellFormedTextAlone) {
  for (const std::string text :
       {"", "plain", "\xC3\xA9", "\xE4\xB8\xAD", "\xF0\x9F\x98\x80", "\xEF\xBF\xBF"}) {
    EXPECT_EQ(repaired_utf8(text), text);
  }
  const std::string with_nul("a\0b", 3);
  EXPECT_EQ(repaired_utf8(with_nul), with_nul);
}

TEST(RepairedUtf8, ReplacesEveryMaximalIllFormedPartOnce) {
  const std::string r = kReplaced;
  EXPECT_EQ(repaired_utf8("\x80"), r);
  EXPECT_EQ(repaired_utf8("\xE2\x82x"), r + "x");               // a character cut short is one part
  EXPECT_EQ(repaired_utf8("\xF0\x9F\x98"), r);                  // also at the end
  EXPECT_EQ(repaired_utf8("\xC0\xAF"), r + r);                  // never a lead byte
  EXPECT_EQ(repaired_utf8("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(repaired_utf8("\xF4\x90\x80\x80"), r + r + r + r);  // over U+10FFFF
}

TEST(ToNfc, ComposesAndOrders) {
  EXPECT_EQ(to_nfc("e\xCC\x81").value(), "\xC3\xA9");
  EXPECT_EQ(to_nfc("\xE2\x84\xAB").value(), "\xC3\x85");                              // ångström sign
  EXPECT_EQ(to_nfc("q\xCC\x87\xCC\xA3").value(), "q\xCC\xA3\xCC\x87");                // marks change places
  EXPECT_EQ(to_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8").value(), "\xEA\xB0\x81");  // Hangul
  EXPECT_EQ(to_nfc(std::string("a\0e\xCC\x81", 5)).value(), std::string("a\0\xC3\xA9", 4));
  EXPECT_EQ(to_nfc("").value(), "");
}

TEST(Characters, AreFoundAtBothEnds) {
  EXPECT_EQ(first_character_bytes("\xE4\xB8\xADx"), 3u);
  EXPECT_EQ(last_character_bytes("x\xE4\xB8\xAD"), 3u);
  EXPECT_EQ(first_character_bytes(""), 0u);
  EXPECT_EQ(last_character_bytes(""), 0u);
  EXPECT_TRUE(is_white_space("\xE3\x80\x80"));   // ideographic space
  EXPECT_TRUE(is_white_space("\xC2\x85"));       // next line
  EXPECT_FALSE(is_white_space("\xE1\xA0\x8E"));  // Mongolian vowel separator: no longer white space
  EXPECT_FALSE(is_white_space("\xE2\x80\x8B"));  // zero width space: never was
}

}  // namespace
}  // namespace pinion::models
