#pragma once
// Who this machine is to its peers: a key and a self-signed certificate, made at first start
// (docs/protocol.md, sections 2 and 3). Immutable; thread-safe.

#include <filesystem>
#include <string>

#include "pinion/transport/pairing_line.h"

namespace pinion::transport {

class Identity {
 public:
  // Reads `identity.pem` in `folder`, or makes it (file 0600, folder 0700). Two processes that start at the
  // same time get the same one.
  static Result<Identity> load_or_create(const std::filesystem::path& folder);

  // A new one that is kept nowhere, for tests and one-off connections.
  static Result<Identity> create();

  const Fingerprint& fingerprint() const { return fingerprint_; }
  const std::string& pem() const { return pem_; }  // private key, then certificate

 private:
  static Result<Identity> parse(std::string pem);

  std::string pem_;
  Fingerprint fingerprint_{};
};

}  // namespace pinion::transport
