#pragma once
// Base64 with the URL alphabet and without padding (RFC 4648, section 5). Pure functions.

#include <string>
#include <string_view>

#include "pinion/base/bytes.h"

namespace pinion::transport {

std::string to_base64url(ByteSpan bytes);

// kBadFormat for another alphabet, a length that cannot be, or bits that should be zero.
Result<Bytes> from_base64url(std::string_view text);

}  // namespace pinion::transport
