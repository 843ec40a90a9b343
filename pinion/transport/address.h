#pragma once
// Host and port, as people write them. Values.

#include <cstdint>
#include <string>
#include <string_view>

#include "pinion/base/result.h"

namespace pinion::transport {

inline constexpr std::uint16_t kDefaultPort = 7777;

struct Address {
  std::string host;  // a name, an IPv4 or an IPv6 address without brackets
  std::uint16_t port = kDefaultPort;
  bool operator==(const Address&) const = default;
};

// "host:port", "[ipv6]:port".
std::string to_string(const Address& address);

// "host", "host:port", "[ipv6]", "[ipv6]:port"; port 1 to 65535. kInvalidArgument otherwise.
Result<Address> parse_address(std::string_view text);

}  // namespace pinion::transport
