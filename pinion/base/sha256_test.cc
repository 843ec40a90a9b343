#include "pinion/base/sha256.h"

#include <gtest/gtest.h>

namespace pinion {
namespace {

std::string hex_of(std::string_view text) { return to_hex(sha256(as_bytes(text))); }

// FIPS 180-2, appendix B, and the empty message.
TEST(Sha256, KnownVectors) {
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex_of(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheSameAsTheWhole) {
  const std::string text(200, 'x');
  for (std::size_t split = 0; split <= text.size(); split += 13) {
    Sha256 hash;
    hash.update(std::string_view(text).substr(0, split)).update(std::string_view(text).substr(split));
    EXPECT_EQ(to_hex(hash.finish()), hex_of(text)) << split;
  }
}

TEST(Hex, RoundTripsInEitherCase) {
  const auto bytes = from_hex("00ffA5b7");
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(to_hex(*bytes), "00ffa5b7");
  EXPECT_TRUE(from_hex("").value().empty());
}

TEST(Hex, RefusesWhatIsNotHexadecimal) {
  for (const char* text : {"a", "abc", "0g", "g0", "0x12", " 1", "1 "}) {
    const auto bytes = from_hex(text);
    ASSERT_FALSE(bytes.ok()) << text;
    EXPECT_EQ(bytes.error().code, Errc::kBadFormat) << text;
  }
}

}  // namespace
}  // namespace pinion
