#include "pinion/transport/listener.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/beast/core/detect_ssl.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>

#include "pinion/base/log.h"
#include "pinion/transport/http_answer.h"
#include "pinion/transport/tls_context.h"
#include "pinion/transport/websocket_connection.h"

namespace pinion::transport {
namespace {

namespace ssl = asio::ssl;
using asio::ip::tcp;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr std::chrono::seconds kHandshakeDeadline{5};
constexpr std::size_t kMaxHttpHeaderBytes = 8 * 1024;
constexpr std::string_view kPath = "/pinion";

// Sends the answer and closes; what goes wrong is the peer's business.
template <class Stream>
asio::awaitable<void> send_answer(Stream& stream, HttpAnswer answer) {
  beast::get_lowest_layer(stream).expires_after(kHandshakeDeadline);
  co_await http::async_write(stream, answer, kAsTuple);
  beast::error_code ignored;
  beast::get_lowest_layer(stream).socket().shutdown(tcp::socket::shutdown_send, ignored);
}

// Reads the HTTP request on `stream` and makes a connection of it if it asks for one; else nullptr.
template <class Stream>
asio::awaitable<ConnectionPtr> upgrade(Stream stream, beast::flat_buffer buffer, PeerInfo peer) {
  auto& bottom = beast::get_lowest_layer(stream);
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kMaxHttpHeaderBytes);
  bottom.expires_after(kHandshakeDeadline);
  const auto [read_code, bytes] = co_await http::async_read_header(stream, buffer, parser, kAsTuple);
  if (read_code) co_return nullptr;
  const HttpRequest request = parser.release();
  if (!websocket::is_upgrade(request) || request.target() != kPath) {
    co_await send_answer(stream, answer_http(request));
    co_return nullptr;
  }
  bottom.expires_never();
  websocket::stream<Stream> socket(std::move(stream));
  prepare_websocket(socket);
  const auto [accept_code] = co_await socket.async_accept(request, kAsTuple);
  if (accept_code) co_return nullptr;
  co_return std::make_shared<WebSocketConnection<Stream>>(std::move(socket), std::move(peer));
}

asio::awaitable<ConnectionPtr> upgrade_tls(beast::tcp_stream tcp_stream, beast::flat_buffer start,
                                           ssl::context& tls, PeerInfo peer) {
  TlsStream stream(std::move(tcp_stream), tls);
  beast::get_lowest_layer(stream).expires_after(kHandshakeDeadline);
  const auto [code, bytes] =
      co_await stream.async_handshake(ssl::stream_base::server, start.data(), kAsTuple);
  if (code) co_return nullptr;
  peer.fingerprint = peer_fingerprint(stream.native_handle());
  co_return co_await upgrade(std::move(stream), beast::flat_buffer(), std::move(peer));
}

}  // namespace

Result<std::shared_ptr<Listener>> Listener::open(asio::any_io_executor executor, const Identity& identity,
                                                 const ListenOptions& options) {
  const std::string where = to_string(options.bind);
  beast::error_code code;
  tcp::resolver resolver(executor);
  const auto addresses = resolver.resolve(options.bind.host, std::to_string(options.bind.port),
                                          tcp::resolver::passive | tcp::resolver::numeric_service, code);
  if (code || addresses.empty()) {
    return Error{Errc::kInvalidArgument, "cannot listen on " + where + ": " + code.message(),
                 "use an address of this machine, such as 127.0.0.1 or 0.0.0.0"};
  }
  const tcp::endpoint endpoint = addresses.begin()->endpoint();
  tcp::acceptor acceptor(executor);
  acceptor.open(endpoint.protocol(), code);
  if (!code) acceptor.set_option(tcp::acceptor::reuse_address(true), code);
  if (!code && endpoint.address().is_v6()) acceptor.set_option(asio::ip::v6_only(false), code);
  if (!code) acceptor.bind(endpoint, code);
  if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
  if (code) {
    return Error{Errc::kIo, "cannot listen on " + where + ": " + code.message(),
                 "choose another --port, or stop what uses it"};
  }
  PINION_TRY(ssl::context tls, make_tls_context(identity, TlsRole::kServer));
  return std::make_shared<Listener>(std::move(acceptor), std::move(tls), options);
}

Listener::Listener(tcp::acceptor acceptor, ssl::context tls, const ListenOptions& options)
    : acceptor_(std::move(acceptor)), tls_(std::move(tls)), options_(options) {
  beast::error_code code;
  port_ = acceptor_.local_endpoint(code).port();
}

void Listener::start(OnConnection on_connection) {
  on_connection_ = std::move(on_connection);
  asio::co_spawn(
      acceptor_.get_executor(), [self = shared_from_this()] { return self->accept_all(); }, asio::detached);
}

void Listener::stop() {
  beast::error_code ignored;
  acceptor_.close(ignored);
}

asio::awaitable<void> Listener::accept_all() {
  asio::steady_timer pause(acceptor_.get_executor());
  while (acceptor_.is_open()) {
    auto [code, socket] = co_await acceptor_.async_accept(kAsTuple);
    if (!acceptor_.is_open()) break;
    if (code) {
      // Out of file descriptors, most likely: others must close theirs first.
      spdlog::warn("cannot accept a connection: {}", code.message());
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(kAsTuple);
      continue;
    }
    if (handshakes_ >= options_.max_handshakes) continue;
    ++handshakes_;
    asio::co_spawn(acceptor_.get_executor(), greet(std::move(socket)),
                   [self = shared_from_this()](const std::exception_ptr&) { --self->handshakes_; });
  }
}

asio::awaitable<void> Listener::greet(tcp::socket socket) {
  const auto self = shared_from_this();
  beast::error_code code;
  const tcp::endpoint remote = socket.remote_endpoint(code);
  if (code) co_return;
  socket.set_option(tcp::no_delay(true), code);
  PeerInfo peer{{remote.address().to_string(), remote.port()}, std::nullopt, false};

  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer start;
  stream.expires_after(kHandshakeDeadline);
  const auto [detect_code, is_tls] = co_await beast::async_detect_ssl(stream, start, kAsTuple);
  if (detect_code) co_return;
  const std::string_view text(static_cast<const char*>(start.cdata().data()), start.size());
  ConnectionPtr connection;
  if (is_tls) {
    connection = co_await upgrade_tls(std::move(stream), std::move(start), tls_, peer);
  } else if (options_.allow_plain_loopback && remote.address().is_loopback()) {
    peer.is_plain = true;
    connection = co_await upgrade(std::move(stream), std::move(start), peer);
  } else if (looks_like_http(text)) {
    co_await send_answer(stream, answer_no_tls());
  }
  if (connection && acceptor_.is_open()) on_connection_(std::move(connection));
}

}  // namespace pinion::transport
