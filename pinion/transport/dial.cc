#include "pinion/transport/dial.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <type_traits>

#include "pinion/transport/tls_context.h"
#include "pinion/transport/websocket_connection.h"

namespace pinion::transport {
namespace {

namespace ssl = asio::ssl;
using asio::ip::tcp;
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr const char* kPath = "/pinion";

// One attempt to connect. Its timer closes whatever is under way when the deadline passes.
template <class Stream>
class Dialer : public std::enable_shared_from_this<Dialer<Stream>> {
 public:
  static constexpr bool kIsTls = std::is_same_v<Stream, TlsStream>;

  template <class... StreamArgs>
  Dialer(asio::any_io_executor executor, DialOptions options, StreamArgs&... args)
      : options_(std::move(options)),
        who_(to_string(options_.address)),
        resolver_(executor),
        socket_(std::in_place, executor, args...),
        timer_(executor) {}

  asio::awaitable<Result<ConnectionPtr>> run() {
    const auto self = this->shared_from_this();
    timer_.expires_after(options_.deadline);
    timer_.async_wait([weak = this->weak_from_this()](beast::error_code code) {
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
    if (socket_) beast::get_lowest_layer(*socket_).close();
  }

  asio::awaitable<Result<ConnectionPtr>> connect() {
    PINION_CO_TRY_VOID(co_await connect_tcp());
    PeerInfo peer{options_.address, std::nullopt, !kIsTls};
    if constexpr (kIsTls) {
      PINION_CO_TRY_VOID(co_await secure());
      peer.fingerprint = peer_fingerprint(socket_->next_layer().native_handle());
    }
    prepare_websocket(*socket_);
    const auto [code] = co_await socket_->async_handshake(to_string(options_.address), kPath, kAsTuple);
    if (code) {
      co_return Error{Errc::kProtocol,
                      "what answers at " + who_ + " is not a Pinion worker: " + code.message(),
                      "check that the port is that of `pinion worker`"};
    }
    ConnectionPtr connection =
        std::make_shared<WebSocketConnection<Stream>>(std::move(*socket_), std::move(peer));
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
    auto& stream = beast::get_lowest_layer(*socket_);
    const auto [connect_code, endpoint] = co_await stream.async_connect(addresses, kAsTuple);
    if (connect_code) {
      co_return Error{Errc::kUnreachable, "nothing answers at " + who_ + ": " + connect_code.message(),
                      "check that `pinion worker` runs there with that port"};
    }
    beast::error_code ignored;
    stream.socket().set_option(tcp::no_delay(true), ignored);
    if (!kIsTls && !endpoint.address().is_loopback()) {
      co_return Error{Errc::kInvalidArgument, "a connection without TLS to " + who_ + " is refused",
                      "leave encryption on for anything but this machine itself"};
    }
    co_return Result<void>();
  }

  asio::awaitable<Result<void>> secure() {
    auto& stream = socket_->next_layer();
    const auto [code] = co_await stream.async_handshake(ssl::stream_base::client, kAsTuple);
    if (code) {
      co_return Error{Errc::kProtocol,
                      "what answers at " + who_ + " does not speak TLS 1.3: " + code.message(),
                      "check that the port is that of `pinion worker`"};
    }
    const std::optional<Fingerprint> fingerprint = peer_fingerprint(stream.native_handle());
    if (!fingerprint) co_return Error{Errc::kCertificate, who_ + " shows no certificate", ""};
    if (options_.accept) PINION_CO_TRY_VOID(options_.accept(*fingerprint));
    co_return Result<void>();
  }

  DialOptions options_;
  std::string who_;
  tcp::resolver resolver_;
  std::optional<websocket::stream<Stream>> socket_;
  asio::steady_timer timer_;
  bool is_late_ = false;
};

}  // namespace

asio::awaitable<Result<ConnectionPtr>> dial(const Identity& identity, DialOptions options) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  if (options.is_plain) {
    const auto dialer = std::make_shared<Dialer<PlainStream>>(executor, std::move(options));
    co_return co_await dialer->run();
  }
  PINION_CO_TRY(ssl::context tls, make_tls_context(identity, TlsRole::kClient));
  const auto dialer = std::make_shared<Dialer<TlsStream>>(executor, std::move(options), tls);
  co_return co_await dialer->run();
}

}  // namespace pinion::transport
