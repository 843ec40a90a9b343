#include "pinion/transport/tls_context.h"

#include <openssl/ssl.h>

#include <memory>

#include "pinion/transport/openssl_error.h"

namespace pinion::transport {

namespace ssl = boost::asio::ssl;

Result<ssl::context> make_tls_context(const Identity& identity, TlsRole role) {
  const bool is_server = role == TlsRole::kServer;
  ssl::context context(is_server ? ssl::context::tls_server : ssl::context::tls_client);
  SSL_CTX* native = context.native_handle();
  boost::system::error_code code;
  context.use_private_key(boost::asio::buffer(identity.pem()), ssl::context::pem, code);
  if (!code) context.use_certificate(boost::asio::buffer(identity.pem()), ssl::context::pem, code);
  if (code || SSL_CTX_set_min_proto_version(native, TLS1_3_VERSION) != 1) {
    return openssl_error("cannot set up TLS");
  }
  // A resumed session would carry no certificate.
  SSL_CTX_set_options(native, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(native, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  return context;
}

std::optional<Fingerprint> peer_fingerprint(SSL* tls) {
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(tls), X509_free);
  Fingerprint fingerprint{};
  unsigned length = 0;
  auto* bytes = reinterpret_cast<unsigned char*>(fingerprint.data());
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), bytes, &length) != 1) return std::nullopt;
  return fingerprint;
}

}  // namespace pinion::transport
