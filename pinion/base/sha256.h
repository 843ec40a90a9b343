#pragma once
// SHA-256, the content hash of everything that has an identity here (weights, bases, constants).
// One Sha256 is used by one thread at a time.

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "pinion/base/bytes.h"

namespace pinion {

using Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(ByteSpan bytes);
  Sha256& update(std::string_view text) { return update(as_bytes(text)); }
  Digest finish();  // call once

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest sha256(ByteSpan bytes);

std::string to_hex(ByteSpan bytes);             // lower case
Result<Bytes> from_hex(std::string_view text);  // even length, either case

}  // namespace pinion
