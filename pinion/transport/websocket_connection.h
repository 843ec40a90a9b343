#pragma once
// Connection over any Beast stream: TLS, plain TCP, or a test's stream in memory. Contract: connection.h.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>
#include <string>

#include "pinion/transport/connection.h"
#include "pinion/transport/messages.h"

namespace pinion::transport {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

inline constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

// What an error code on a connection to `who` means, in our terms.
Error connection_error(beast::error_code code, const std::string& who);

// How long writing a message may take.
Milliseconds write_deadline(std::size_t bytes);

// The options of every WebSocket of ours.
template <class Stream>
void prepare_websocket(websocket::stream<Stream>& socket) {
  websocket::stream_base::timeout timeouts{};
  timeouts.handshake_timeout = std::chrono::seconds(5);
  timeouts.idle_timeout = kSilence;
  timeouts.keep_alive_pings = true;
  socket.set_option(timeouts);
  socket.binary(true);
  socket.auto_fragment(false);
  socket.write_buffer_bytes(256 * 1024);  // a client's frames are masked through this buffer
  socket.read_message_max(0);  // the connection counts on its own, so that it can say what was wrong
}

template <class Stream>
class WebSocketConnection : public Connection,
                            public std::enable_shared_from_this<WebSocketConnection<Stream>> {
 public:
  // `socket` has done its handshake.
  WebSocketConnection(websocket::stream<Stream> socket, PeerInfo peer)
      : socket_(std::move(socket)),
        peer_(std::move(peer)),
        read_timer_(socket_.get_executor()),
        write_timer_(socket_.get_executor()),
        queue_changed_(socket_.get_executor(), asio::steady_timer::time_point::max()) {}

  const PeerInfo& peer() const override { return peer_; }
  asio::any_io_executor executor() override { return socket_.get_executor(); }

  asio::awaitable<Result<Message>> receive() override {
    const auto self = this->shared_from_this();
    auto buffer = std::make_shared<beast::flat_buffer>();
    do {
      // One byte more than allowed is enough to know.
      const std::size_t room = max_receive_bytes_ + 1 - buffer->size();
      const auto [code, bytes] = co_await socket_.async_read_some(*buffer, room, kAsTuple);
      if (code) {
        Error error = lost_reason(code);
        abort();
        co_return error;
      }
      if (buffer->size() > max_receive_bytes_) {
        co_return Error{Errc::kTooLarge,
                        "message from " + who() + " is over the limit of " +
                            std::to_string(max_receive_bytes_) + " bytes",
                        ""};
      }
    } while (!socket_.is_message_done());
    if (!socket_.got_binary())
      co_return Error{Errc::kProtocol, "text message from " + who() + ", not binary", ""};
    const ByteSpan content(static_cast<const std::byte*>(buffer->cdata().data()), buffer->size());
    co_return parse_message(Blob{std::move(buffer), content});
  }

  asio::awaitable<Result<Message>> receive(Milliseconds deadline) override {
    const auto self = this->shared_from_this();
    start_timer(read_timer_, deadline,
                "nothing from " + who() + " in " + std::to_string(deadline.count()) + " ms");
    Result<Message> message = co_await receive();
    read_timer_.cancel();
    co_return message;
  }

  Result<void> send(const Message& message) override {
    if (is_lost_) return Error{Errc::kConnectionLost, "no connection to " + who() + " any more", ""};
    if (queue_.size() >= kMaxQueuedMessages)
      return Error{Errc::kBusy, who() + " does not read its messages", ""};
    Outgoing outgoing{message_head(message), message.blobs};
    const std::size_t bytes = wire_size(outgoing.head.size(), message);
    if (bytes > max_send_bytes_) {
      return Error{Errc::kTooLarge,
                   "a message of " + std::to_string(bytes) + " bytes is more than the " +
                       std::to_string(max_send_bytes_) + " that " + who() + " takes",
                   "use a smaller picture or batch, or a codec that makes smaller frames"};
    }
    outgoing.bytes = bytes;
    queue_.push_back(std::move(outgoing));
    if (queue_.size() == 1) write_front();
    return {};
  }

  asio::awaitable<void> writable() override {
    const auto self = this->shared_from_this();
    while (!is_lost_ && queue_.size() >= kMaxQueuedMessages / 2) co_await queue_changed_.async_wait(kAsTuple);
  }

  void set_limits(std::size_t receive_bytes, std::size_t send_bytes) override {
    max_receive_bytes_ = receive_bytes;
    max_send_bytes_ = send_bytes;
  }

  asio::awaitable<void> finish(Milliseconds deadline) override {
    const auto self = this->shared_from_this();
    asio::steady_timer timer(socket_.get_executor());
    start_timer(timer, deadline, "closing the connection to " + who() + " took too long");
    // A second caller waits for the first one's close.
    while (!is_lost_ && (is_finishing_ || !queue_.empty())) co_await queue_changed_.async_wait(kAsTuple);
    is_finishing_ = true;
    if (!is_lost_ && socket_.is_open()) co_await socket_.async_close(websocket::close_code::normal, kAsTuple);
    timer.cancel();
    abort();
  }

  void abort() override {
    if (is_lost_) return;
    is_lost_ = true;
    beast::get_lowest_layer(socket_).close();
    read_timer_.cancel();
    write_timer_.cancel();
    queue_changed_.cancel();
  }

 private:
  struct Outgoing {
    Bytes head;
    std::vector<Blob> blobs;
    std::size_t bytes = 0;
  };

  std::string who() const { return to_string(peer_.address); }

  Error lost_reason(beast::error_code code) const {
    if (!missed_deadline_.empty()) return Error{Errc::kTimeout, missed_deadline_, ""};
    return connection_error(code, who());
  }

  void start_timer(asio::steady_timer& timer, Milliseconds deadline, std::string missed) {
    timer.expires_after(deadline);
    timer.async_wait([weak = this->weak_from_this(), missed = std::move(missed)](beast::error_code code) {
      const auto self = weak.lock();
      if (code || !self || self->is_lost_) return;
      self->missed_deadline_ = missed;
      self->abort();
    });
  }

  void write_front() {
    const Outgoing& front = queue_.front();
    std::vector<asio::const_buffer> buffers{asio::buffer(front.head)};
    for (const Blob& blob : front.blobs) buffers.emplace_back(blob.bytes.data(), blob.bytes.size());
    start_timer(write_timer_, write_deadline(front.bytes), who() + " does not take what it is sent");
    socket_.async_write(buffers, [self = this->shared_from_this()](beast::error_code code, std::size_t) {
      self->write_timer_.cancel();
      self->queue_.pop_front();
      if (code) {
        self->queue_.clear();
        return self->abort();
      }
      self->queue_changed_.cancel();
      if (!self->is_lost_ && !self->queue_.empty()) self->write_front();
    });
  }

  websocket::stream<Stream> socket_;
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
