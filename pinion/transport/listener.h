#pragma once
// The worker's port: accepts, finds out what the peer speaks, and hands over WebSocket connections. HTTP
// requests get a short answer; everything else is closed (docs/protocol.md, section 2).
//
// All calls and callbacks are on the thread that runs the executor.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <memory>

#include "pinion/transport/byte_stream.h"
#include "pinion/transport/connection.h"
#include "pinion/transport/http_answer.h"
#include "pinion/transport/identity.h"

namespace pinion::transport {

struct ListenOptions {
  Address bind{"127.0.0.1", kDefaultPort};  // port 0: any free one
  bool allow_plain_loopback = false;
  int max_handshakes = 16;  // connections that have not become WebSockets yet
};

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  using OnConnection = std::function<void(ConnectionPtr)>;

  // kInvalidArgument: no such address here; kIo: the port cannot be had.
  static Result<std::shared_ptr<Listener>> open(asio::any_io_executor executor, const Identity& identity,
                                                const ListenOptions& options);

  void start(OnConnection on_connection);
  void stop();  // no more connections; those handed over go on

  std::uint16_t port() const { return port_; }

  Listener(asio::ip::tcp::acceptor acceptor, asio::ssl::context tls, const ListenOptions& options);

 private:
  asio::awaitable<void> accept_all();
  asio::awaitable<void> greet(asio::ip::tcp::socket socket);

  // Finds out what the peer speaks. The request of one that wants a WebSocket; all others are answered.
  asio::awaitable<std::optional<HttpRequest>> negotiate(ByteStream& stream, PeerInfo& peer);

  asio::ip::tcp::acceptor acceptor_;
  asio::ssl::context tls_;
  ListenOptions options_;
  std::uint16_t port_ = 0;
  OnConnection on_connection_;
  int handshakes_ = 0;
};

}  // namespace pinion::transport
