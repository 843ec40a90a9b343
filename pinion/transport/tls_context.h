#pragma once
// TLS settings of both sides: 1.3 only, own certificate shown, any certificate of the peer taken, because
// who the peer is follows from its fingerprint and not from a signer. Thread-safe once made.

#include <boost/asio/ssl/context.hpp>
#include <optional>

#include "pinion/transport/identity.h"

namespace pinion::transport {

enum class TlsRole { kClient, kServer };

Result<boost::asio::ssl::context> make_tls_context(const Identity& identity, TlsRole role);

// The fingerprint of the certificate that the peer proved to own; none if it showed none.
std::optional<Fingerprint> peer_fingerprint(SSL* tls);

}  // namespace pinion::transport
