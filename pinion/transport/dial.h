#pragma once
// Connecting to a worker: resolve, TCP, TLS, the peer's certificate, WebSocket; all within one deadline.

#include <functional>

#include "pinion/transport/connection.h"
#include "pinion/transport/identity.h"

namespace pinion::transport {

struct DialOptions {
  Address address;
  Milliseconds deadline{4000};
  // Says whether the certificate is the right one, before anything is sent.
  std::function<Result<void>(const Fingerprint&)> accept;
  bool is_plain = false;  // no TLS; kInvalidArgument unless the address is a loopback one
};

// kUnreachable: nothing answers, or not in time, or it hangs up before it is known; kProtocol: what answers
// is not a worker; or what `accept` says. Runs on the calling coroutine's executor. `identity` is only used
// before the first suspension.
asio::awaitable<Result<ConnectionPtr>> dial(const Identity& identity, DialOptions options);

}  // namespace pinion::transport
