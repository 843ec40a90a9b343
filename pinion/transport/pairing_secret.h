#pragma once
// The worker's side of pairing: one secret at a time, good once, for ten minutes and five tries
// (docs/protocol.md, section 3). Time is given by the caller. Used by one thread at a time.

#include <chrono>
#include <string>

#include "pinion/base/result.h"

namespace pinion::transport {

class PairingSecret {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A new secret in the place of the old one.
  const std::string& renew(Time now);

  // Whether a secret is out that may still be used.
  bool is_open(Time now) const;

  // Uses the secret up if it is right. kNotPaired says why not.
  Result<void> redeem(const std::string& secret, Time now);

 private:
  std::string secret_;  // empty: none is out
  Time expires_{};
  int wrong_tries_ = 0;
};

}  // namespace pinion::transport
