#include "pinion/base/utf8.h"

#include <gtest/gtest.h>

namespace pinion {
namespace {

using namespace std::string_view_literals;

TEST(Utf8, AcceptsEveryLength) {
  for (const auto text :
       {""sv, "plain"sv, "\0"sv, "\x7f"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv, "\xed\x9f\xbf"sv,
        "\xee\x80\x80"sv, "\xef\xbf\xbf"sv, "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv, "a\xc3\xa9z"sv}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
}

TEST(Utf8, RefusesEverythingElse) {
  for (const auto text :
       {"\x80"sv, "\xbf"sv, "\xc2"sv, "\xc2 "sv, "\xe2\x82"sv, "\xf0\x9f\x98"sv, "\xc0\x80"sv, "\xc1\xbf"sv,
        "\xe0\x9f\xbf"sv, "\xf0\x8f\xbf\xbf"sv, "\xed\xa0\x80"sv, "\xed\xbf\xbf"sv, "\xf4\x90\x80\x80"sv,
        "\xf8\x88\x80\x80\x80"sv, "\xff"sv, "good\xe2\x28\xa1"sv}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

}  // namespace
}  // namespace pinion
