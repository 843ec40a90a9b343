#pragma once
// Connection over a WebSocket. Contract: connection.h.

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>
#include <string>

#include "pinion/transport/as_tuple.h"
#include "pinion/transport/byte_stream.h"
#include "pinion/transport/connection.h"
#include "pinion/transport/messages.h"

namespace pinion::transport {

inline constexpr const char* kWebSocketPath = "/pinion";  // of the HTTP request that asks for one

using WebSocket = boost::beast::websocket::stream<ByteStream>;

// Gives the socket the options of every WebSocket of ours.
void prepare_websocket(WebSocket& socket);

class WebSocketConnection : public Connection, public std::enable_shared_from_this<WebSocketConnection> {
 public:
  // `socket` has done its handshake.
  WebSocketConnection(WebSocket socket, PeerInfo peer);

  const PeerInfo& peer() const override { return peer_; }
  asio::any_io_executor executor() override { return executor_; }
  asio::awaitable<Result<Message>> receive() override;
  asio::awaitable<Result<Message>> receive(Milliseconds deadline) override;
  Result<void> send(const Message& message) override;
  asio::awaitable<void> writable() override;
  void set_limits(std::size_t receive_bytes, std::size_t send_bytes) override;
  asio::awaitable<void> finish(Milliseconds deadline) override;
  void abort() override;

 private:
  struct Outgoing {
    Bytes head;
    std::vector<Blob> blobs;
    std::size_t bytes = 0;
  };

  std::string who() const { return to_string(peer_.address); }
  Error lost_reason(boost::system::error_code code) const;
  void start_timer(asio::steady_timer& timer, Milliseconds deadline, std::string missed);
  void write_front();
  void on_written(boost::system::error_code code);

  WebSocket socket_;
  asio::any_io_executor executor_;
  PeerInfo peer_;
  std::size_t max_receive_bytes_ = kUnauthorisedMessageBytes;
  std::size_t max_send_bytes_ = kUnauthorisedMessageBytes;
  std::deque<Outgoing> queue_;  // the front is being written
  bool is_lost_ = false;
  bool is_finishing_ = false;
  std::string missed_deadline_;
  asio::steady_timer read_timer_;
  asio::steady_timer write_timer_;
  asio::steady_timer queue_changed_;  // never fires: cancelling it wakes those who wait for the queue
};

}  // namespace pinion::transport
