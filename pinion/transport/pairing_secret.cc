#include "pinion/transport/pairing_secret.h"

#include <openssl/crypto.h>

#include "pinion/transport/base64url.h"
#include "pinion/transport/random_bytes.h"

namespace pinion::transport {
namespace {

constexpr std::size_t kSecretBytes = 16;
constexpr std::chrono::minutes kLifetime{10};
constexpr int kMaxWrongTries = 5;

}  // namespace

const std::string& PairingSecret::renew(Time now) {
  const Result<Bytes> bytes = random_bytes(kSecretBytes);
  secret_ = bytes.ok() ? to_base64url(*bytes) : "";  // without a secret nobody can pair
  expires_ = now + kLifetime;
  wrong_tries_ = 0;
  return secret_;
}

bool PairingSecret::is_open(Time now) const { return !secret_.empty() && now < expires_; }

Result<void> PairingSecret::redeem(const std::string& secret, Time now) {
  if (!is_open(now)) {
    return Error{Errc::kNotPaired, "the pairing line was used before or is older than ten minutes",
                 "use the new line that the worker prints now"};
  }
  const bool right =
      secret.size() == secret_.size() && CRYPTO_memcmp(secret.data(), secret_.data(), secret_.size()) == 0;
  if (right || ++wrong_tries_ >= kMaxWrongTries) secret_.clear();
  if (right) return {};
  return Error{Errc::kNotPaired, "the pairing line's secret is wrong",
               "use the newest line that the worker printed"};
}

}  // namespace pinion::transport
