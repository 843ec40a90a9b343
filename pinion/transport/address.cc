#include "pinion/transport/address.h"

#include <charconv>

namespace pinion::transport {
namespace {

Error bad_address(std::string_view text, const std::string& why) {
  return Error{Errc::kInvalidArgument, "\"" + std::string(text) + "\" is not an address: " + why,
               "write host, host:port or [ipv6]:port"};
}

bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_' || c == '%' || c == ':';
}

}  // namespace

std::string to_string(const Address& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

Result<Address> parse_address(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t closing = text.find(']');
    if (closing == std::string_view::npos) return bad_address(text, "no closing bracket");
    host = text.substr(1, closing - 1);
    port = text.substr(closing + 1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (host.empty() || host.size() > 255) return bad_address(text, "no host");
  for (const char c : host) {
    if (!is_host_character(c)) return bad_address(text, "strange characters in the host");
  }
  Address address{std::string(host)};
  if (port.empty()) return address;
  unsigned number = 0;
  const char* end = port.data() + port.size();
  const auto parsed = std::from_chars(port.data() + 1, end, number);
  if (port.front() != ':' || parsed.ec != std::errc() || parsed.ptr != end || number == 0 || number > 65535) {
    return bad_address(text, "the port is not a number from 1 to 65535");
  }
  address.port = static_cast<std::uint16_t>(number);
  return address;
}

}  // namespace pinion::transport
