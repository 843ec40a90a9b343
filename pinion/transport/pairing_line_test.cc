#include "pinion/transport/pairing_line.h"

#include <gtest/gtest.h>

#include "pinion/transport/base64url.h"

namespace pinion::transport {
namespace {

std::string round_trip(std::string_view text) {
  const Result<Address> address = parse_address(text);
  return address.ok() ? to_string(*address) : "bad";
}

TEST(Address, ReadsWhatPeopleWrite) {
  EXPECT_EQ(round_trip("localhost"), "localhost:7777");
  EXPECT_EQ(round_trip("10.0.0.2:80"), "10.0.0.2:80");
  EXPECT_EQ(round_trip("[::1]"), "[::1]:7777");
  EXPECT_EQ(round_trip("[fe80::1%eth0]:9"), "[fe80::1%eth0]:9");
  EXPECT_EQ(parse_address("[::1]:5")->host, "::1");
  for (const char* bad : {"", ":80", "host:", "host:0", "host:65536", "host:8x", "host:80:90", "[::1",
                          "[::1]80", "a b", "host/path", "[]:80"}) {
    EXPECT_EQ(round_trip(bad), "bad") << bad;
  }
}

TEST(Base64Url, SurvivesARoundTripAtEveryLength) {
  Bytes bytes;
  for (unsigned length = 0; length < 70; ++length) {
    const std::string text = to_base64url(bytes);
    const Result<Bytes> back = from_base64url(text);
    ASSERT_TRUE(back.ok()) << text;
    EXPECT_EQ(*back, bytes);
    bytes.push_back(static_cast<std::byte>(length * 37 + 250));
  }
  EXPECT_EQ(to_base64url(as_bytes("f\xfb\xff")), "Zvv_");
  for (const char* bad : {"A", "AB", "A=", "A+BC", "AAAAA"}) EXPECT_FALSE(from_base64url(bad).ok()) << bad;
}

TEST(PairingLine, SurvivesARoundTrip) {
  PairingLine line{.address = {"::1", 7000},
                   .fingerprint = sha256(as_bytes("certificate")),
                   .secret = "AAAAAAAAAAAAAAAAAAAAAA"};
  const Result<PairingLine> back = parse_pairing_line(to_string(line));
  ASSERT_TRUE(back.ok()) << back.error().text;
  EXPECT_EQ(back->address, line.address);
  EXPECT_EQ(back->fingerprint, line.fingerprint);
  EXPECT_EQ(back->secret, line.secret);
}

TEST(PairingLine, SaysWhichPartIsWrong) {
  const std::string good =
      to_string(PairingLine{.address = {"h", 1}, .fingerprint = {}, .secret = "AAAAAAAAAAAAAAAAAAAAAA"});
  ASSERT_TRUE(parse_pairing_line(good).ok());
  const auto why = [](const std::string& text) { return parse_pairing_line(text).error().text; };
  EXPECT_NE(why("http://h:1#x.y").find("pinion://"), std::string::npos);
  EXPECT_NE(why("pinion://h:1").find("#"), std::string::npos);
  EXPECT_NE(why(good.substr(0, good.size() - 1)).find("secret"), std::string::npos);
  EXPECT_NE(why("pinion://h:1#AAAA.AAAAAAAAAAAAAAAAAAAAAA").find("fingerprint"), std::string::npos);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(parse_pairing_line(good.substr(0, length)).ok()) << length;
  }
}

}  // namespace
}  // namespace pinion::transport
