#pragma once
// The line that pairs two machines: pinion://HOST:PORT#FINGERPRINT.SECRET (docs/protocol.md, section 3).

#include "pinion/base/sha256.h"
#include "pinion/transport/address.h"

namespace pinion::transport {

// SHA-256 of a certificate in DER; all zeros stands for no certificate.
using Fingerprint = Digest;

struct PairingLine {
  Address address;
  Fingerprint fingerprint{};
  std::string secret;  // 22 characters of base64url
};

std::string to_string(const PairingLine& line);

// kInvalidArgument says which part is wrong.
Result<PairingLine> parse_pairing_line(std::string_view text);

}  // namespace pinion::transport
