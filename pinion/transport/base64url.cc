#include "pinion/transport/base64url.h"

namespace pinion::transport {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string to_base64url(ByteSpan bytes) {
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::byte byte : bytes) {
    bits = (bits << 8) | std::to_integer<std::uint32_t>(byte);
    for (count += 8; count >= 6; count -= 6) text += kAlphabet[(bits >> (count - 6)) & 63];
  }
  if (count > 0) text += kAlphabet[(bits << (6 - count)) & 63];
  return text;
}

Result<Bytes> from_base64url(std::string_view text) {
  const Error bad{Errc::kBadFormat, "not base64url", ""};
  if (text.size() % 4 == 1) return bad;
  Bytes bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return bad;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      bytes.push_back(static_cast<std::byte>(bits >> (count - 8)));
      count -= 8;
    }
  }
  if ((bits & ((1u << count) - 1)) != 0) return bad;
  return bytes;
}

}  // namespace pinion::transport
