#include "pinion/transport/dial.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/this_coro.hpp>

#include "pinion/transport/tls_context.h"
#include "pinion/transport/websocket_connection.h"

namespace pinion::transport {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

// The other end went away in the middle of a handshake: a worker that dies or is started again, a firewall,
// or a server of something else that gives up without a word.
bool is_hang_up(error_code code) {
  return code == asio::error::eof || code == asio::error::connection_reset ||
         code == asio::error::broken_pipe || code == asio::ssl::error::stream_truncated;
}

// One attempt to connect. Its timer closes whatever is under way when the deadline passes.
class Dialer : public std::enable_shared_from_this<Dialer> {
 public:
  Dialer(asio::any_io_executor executor, DialOptions options, asio::ssl::context* tls)
      : options_(std::move(options)),
        who_(to_string(options_.address)),
        resolver_(executor),
        socket_(tls != nullptr ? WebSocket(tcp::socket(executor), *tls) : WebSocket(tcp::socket(executor))),
        timer_(executor) {}

  asio::awaitable<Result<ConnectionPtr>> run() {
    const auto self = shared_from_this();
    timer_.expires_after(options_.deadline);
    timer_.async_wait([weak = weak_from_this()](error_code code) {
      const auto dialer = weak.lock();
      if (!code && dialer) dialer->time_out();
    });
    Result<ConnectionPtr> connection = co_await connect();
    timer_.cancel();
    if (connection.ok() || !is_late_) co_return connection;
    co_return Error{Errc::kUnreachable,
                    "no answer from " + who_ + " in " + std::to_string(options_.deadline.count()) + " ms",
                    "check that `pinion worker` runs there and that no firewall is between"};
  }

 private:
  void time_out() {
    is_late_ = true;
    resolver_.cancel();
    if (socket_) socket_->next_layer().close();
  }

  asio::awaitable<Result<ConnectionPtr>> connect() {
    PINION_CO_TRY_VOID(co_await connect_tcp());
    PeerInfo peer{options_.address, std::nullopt, options_.is_plain};
    if (!options_.is_plain) {
      PINION_CO_TRY_VOID(co_await secure());
      peer.fingerprint = socket_->next_layer().fingerprint();
    }
    prepare_websocket(*socket_);
    const auto [code] =
        co_await socket_->async_handshake(to_string(options_.address), kWebSocketPath, kAsTuple);
    if (code) co_return no_handshake("is not a Pinion worker", code);
    ConnectionPtr connection = std::make_shared<WebSocketConnection>(std::move(*socket_), std::move(peer));
    socket_.reset();
    co_return connection;
  }

  asio::awaitable<Result<void>> connect_tcp() {
    const auto [resolve_code, addresses] = co_await resolver_.async_resolve(
        options_.address.host, std::to_string(options_.address.port), kAsTuple);
    if (resolve_code) {
      co_return Error{Errc::kUnreachable,
                      "no machine is called \"" + options_.address.host + "\": " + resolve_code.message(),
                      "check the name, or use the address in numbers"};
    }
    tcp::socket& tcp_socket = socket_->next_layer().socket();
    const auto [connect_code, endpoint] = co_await asio::async_connect(tcp_socket, addresses, kAsTuple);
    if (connect_code) {
      co_return Error{Errc::kUnreachable, "nothing answers at " + who_ + ": " + connect_code.message(),
                      "check that `pinion worker` runs there with that port"};
    }
    error_code ignored;
    tcp_socket.set_option(tcp::no_delay(true), ignored);
    if (options_.is_plain && !endpoint.address().is_loopback()) {
      co_return Error{Errc::kInvalidArgument, "a connection without TLS to " + who_ + " is refused",
                      "leave encryption on for anything but this machine itself"};
    }
    co_return Result<void>();
  }

  asio::awaitable<Result<void>> secure() {
    const error_code code = co_await socket_->next_layer().handshake_as_client();
    if (code) co_return no_handshake("does not speak TLS 1.3", code);
    const std::optional<Fingerprint> fingerprint = socket_->next_layer().fingerprint();
    if (!fingerprint) co_return Error{Errc::kCertificate, who_ + " shows no certificate", ""};
    if (options_.accept) PINION_CO_TRY_VOID(options_.accept(*fingerprint));
    co_return Result<void>();
  }

  Error no_handshake(const std::string& what, error_code code) const {
    if (is_hang_up(code)) {
      return {Errc::kUnreachable, who_ + " took the connection and closed it at once: " + code.message(),
              "check that `pinion worker` runs there with that port"};
    }
    return {Errc::kProtocol, "what answers at " + who_ + " " + what + ": " + code.message(),
            "check that the port is that of `pinion worker`"};
  }

  DialOptions options_;
  std::string who_;
  tcp::resolver resolver_;
  std::optional<WebSocket> socket_;
  asio::steady_timer timer_;
  bool is_late_ = false;
};

}  // namespace

asio::awaitable<Result<ConnectionPtr>> dial(const Identity& identity, DialOptions options) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  PINION_CO_TRY(asio::ssl::context tls, make_tls_context(identity, TlsRole::kClient));
  asio::ssl::context* const used_tls = options.is_plain ? nullptr : &tls;
  const auto dialer = std::make_shared<Dialer>(executor, std::move(options), used_tls);
  co_return co_await dialer->run();
}

}  // namespace pinion::transport
