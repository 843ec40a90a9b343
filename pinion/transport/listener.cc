#include "pinion/transport/listener.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/beast/core/detect_ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "pinion/base/log.h"
#include "pinion/transport/http_exchange.h"
#include "pinion/transport/tls_context.h"
#include "pinion/transport/websocket_connection.h"

namespace pinion::transport {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::seconds kHandshakeDeadline{5};

// Closes a stream unless it is let go of in time.
class Patience {
 public:
  explicit Patience(ByteStream& stream) : stream_(&stream), timer_(stream.get_executor()) { renew(); }
  ~Patience() { *is_over_ = true; }

  void renew() {
    timer_.expires_after(kHandshakeDeadline);
    timer_.async_wait([stream = stream_, is_over = is_over_](error_code code) {
      if (!code && !*is_over) stream->close();
    });
  }

 private:
  ByteStream* stream_;
  asio::steady_timer timer_;
  std::shared_ptr<bool> is_over_ =
      std::make_shared<bool>(false);  // seen by a call that is already on its way
};

}  // namespace

Result<std::shared_ptr<Listener>> Listener::open(asio::any_io_executor executor, const Identity& identity,
                                                 const ListenOptions& options) {
  const std::string where = to_string(options.bind);
  error_code code;
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
  PINION_TRY(asio::ssl::context tls, make_tls_context(identity, TlsRole::kServer));
  return std::make_shared<Listener>(std::move(acceptor), std::move(tls), options);
}

Listener::Listener(tcp::acceptor acceptor, asio::ssl::context tls, const ListenOptions& options)
    : acceptor_(std::move(acceptor)), tls_(std::move(tls)), options_(options) {
  error_code code;
  port_ = acceptor_.local_endpoint(code).port();
}

void Listener::start(OnConnection on_connection) {
  on_connection_ = std::move(on_connection);
  asio::co_spawn(
      acceptor_.get_executor(), [self = shared_from_this()] { return self->accept_all(); }, asio::detached);
}

void Listener::stop() {
  error_code ignored;
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
  error_code code;
  const tcp::endpoint remote = socket.remote_endpoint(code);
  if (code) co_return;
  socket.set_option(tcp::no_delay(true), code);
  PeerInfo peer{{remote.address().to_string(), remote.port()}, std::nullopt, false};
  ByteStream stream(std::move(socket), tls_);
  const std::optional<HttpRequest> request = co_await negotiate(stream, peer);
  if (!request) co_return;
  WebSocket web_socket(std::move(stream));
  prepare_websocket(web_socket);
  const auto [accept_code] = co_await web_socket.async_accept(*request, kAsTuple);
  if (accept_code || !acceptor_.is_open()) co_return;
  on_connection_(std::make_shared<WebSocketConnection>(std::move(web_socket), std::move(peer)));
}

asio::awaitable<std::optional<HttpRequest>> Listener::negotiate(ByteStream& stream, PeerInfo& peer) {
  Patience patience(stream);
  boost::beast::flat_buffer start;
  const auto [detect_code, is_tls] =
      co_await boost::beast::async_detect_ssl(stream.socket(), start, kAsTuple);
  if (detect_code) co_return std::nullopt;
  if (is_tls) {
    patience.renew();
    const error_code tls_code = co_await stream.handshake_as_server(start.data());
    if (tls_code) co_return std::nullopt;
    start.clear();
    peer.fingerprint = stream.fingerprint();
  } else {
    stream.drop_tls();
    peer.is_plain =
        options_.allow_plain_loopback && stream.socket().remote_endpoint().address().is_loopback();
    const std::string_view text(static_cast<const char*>(start.cdata().data()), start.size());
    if (!peer.is_plain) {
      if (looks_like_http(text)) co_await send_answer(stream, answer_no_tls());
      co_return std::nullopt;
    }
  }
  patience.renew();
  std::optional<HttpRequest> request = co_await read_request(stream, start);
  if (request && !asks_for_websocket(*request, kWebSocketPath)) {
    co_await send_answer(stream, answer_http(*request));
    co_return std::nullopt;
  }
  co_return request;
}

}  // namespace pinion::transport
