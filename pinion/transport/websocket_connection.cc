#include "pinion/transport/websocket_connection.h"

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/error.hpp>

namespace pinion::transport {
namespace {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using boost::system::error_code;

Milliseconds write_deadline(std::size_t bytes) {
  constexpr std::size_t kSlowestBytesPerSecond = 100'000;
  return std::chrono::seconds(30) + Milliseconds(bytes * 1000 / kSlowestBytesPerSecond);
}

bool is_gone(error_code code) {
  return code == websocket::error::closed || code == asio::error::eof ||
         code == asio::error::connection_reset || code == asio::error::broken_pipe ||
         code == asio::error::operation_aborted || code == asio::error::connection_aborted ||
         code == asio::ssl::error::stream_truncated;
}

}  // namespace

void prepare_websocket(WebSocket& socket) {
  websocket::stream_base::timeout timeouts{};
  timeouts.handshake_timeout = std::chrono::seconds(5);
  timeouts.idle_timeout = kSilence;
  timeouts.keep_alive_pings = true;
  socket.set_option(timeouts);
  socket.binary(true);
  socket.auto_fragment(false);
  socket.write_buffer_bytes(256 * 1024);  // a client's frames are masked through this buffer
  socket.read_message_max(0);  // the connection counts on its own, to be able to say what was wrong
}

WebSocketConnection::WebSocketConnection(WebSocket socket, PeerInfo peer)
    : socket_(std::move(socket)),
      executor_(socket_.get_executor()),
      peer_(std::move(peer)),
      read_timer_(executor_),
      write_timer_(executor_),
      queue_changed_(executor_, asio::steady_timer::time_point::max()) {}

asio::awaitable<Result<Message>> WebSocketConnection::receive() {
  const auto self = shared_from_this();
  const auto buffer = std::make_shared<beast::flat_buffer>();
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
      co_return Error{
          Errc::kTooLarge,
          "message from " + who() + " is over the limit of " + std::to_string(max_receive_bytes_) + " bytes",
          ""};
    }
  } while (!socket_.is_message_done());
  if (!socket_.got_binary())
    co_return Error{Errc::kProtocol, "text message from " + who() + ", not binary", ""};
  const ByteSpan content(static_cast<const std::byte*>(buffer->cdata().data()), buffer->size());
  co_return parse_message(Blob{buffer, content});
}

asio::awaitable<Result<Message>> WebSocketConnection::receive(Milliseconds deadline) {
  const auto self = shared_from_this();
  start_timer(read_timer_, deadline,
              "nothing from " + who() + " in " + std::to_string(deadline.count()) + " ms");
  Result<Message> message = co_await receive();
  read_timer_.cancel();
  co_return message;
}

Result<void> WebSocketConnection::send(const Message& message) {
  if (is_lost_) return Error{Errc::kConnectionLost, "no connection to " + who() + " any more", ""};
  if (queue_.size() >= kMaxQueuedMessages)
    return Error{Errc::kBusy, who() + " does not read its messages", ""};
  Outgoing outgoing{message_head(message), message.blobs};
  outgoing.bytes = wire_size(outgoing.head.size(), message);
  if (outgoing.bytes > max_send_bytes_) {
    return Error{Errc::kTooLarge,
                 "a message of " + std::to_string(outgoing.bytes) + " bytes is more than the " +
                     std::to_string(max_send_bytes_) + " that " + who() + " takes",
                 "use a smaller picture or batch, or a codec that makes smaller frames"};
  }
  queue_.push_back(std::move(outgoing));
  if (queue_.size() == 1) write_front();
  return {};
}

asio::awaitable<void> WebSocketConnection::writable() {
  const auto self = shared_from_this();
  while (!is_lost_ && queue_.size() >= kMaxQueuedMessages / 2) co_await queue_changed_.async_wait(kAsTuple);
}

void WebSocketConnection::set_limits(std::size_t receive_bytes, std::size_t send_bytes) {
  max_receive_bytes_ = receive_bytes;
  max_send_bytes_ = send_bytes;
}

asio::awaitable<void> WebSocketConnection::finish(Milliseconds deadline) {
  const auto self = shared_from_this();
  asio::steady_timer timer(executor_);
  start_timer(timer, deadline, "closing the connection to " + who() + " took too long");
  // A second caller waits for the first one's close.
  while (!is_lost_ && (is_finishing_ || !queue_.empty())) co_await queue_changed_.async_wait(kAsTuple);
  is_finishing_ = true;
  if (!is_lost_ && socket_.is_open()) co_await socket_.async_close(websocket::close_code::normal, kAsTuple);
  timer.cancel();
  abort();
}

void WebSocketConnection::abort() {
  if (is_lost_) return;
  is_lost_ = true;
  socket_.next_layer().close();
  read_timer_.cancel();
  write_timer_.cancel();
  queue_changed_.cancel();
}

Error WebSocketConnection::lost_reason(error_code code) const {
  if (!missed_deadline_.empty()) return Error{Errc::kTimeout, missed_deadline_, ""};
  if (code == beast::error::timeout) {
    return Error{Errc::kConnectionLost,
                 who() + " has been silent for " + std::to_string(kSilence.count()) + " s", ""};
  }
  if (is_gone(code)) return Error{Errc::kConnectionLost, "connection to " + who() + " is lost", ""};
  if (code == websocket::condition::protocol_violation) {
    return Error{Errc::kProtocol, who() + " does not follow the WebSocket protocol: " + code.message(), ""};
  }
  return Error{Errc::kConnectionLost, "connection to " + who() + " is lost: " + code.message(), ""};
}

void WebSocketConnection::start_timer(asio::steady_timer& timer, Milliseconds deadline, std::string missed) {
  timer.expires_after(deadline);
  timer.async_wait([weak = weak_from_this(), missed = std::move(missed)](error_code code) {
    const auto self = weak.lock();
    if (code || !self || self->is_lost_) return;
    self->missed_deadline_ = missed;
    self->abort();
  });
}

void WebSocketConnection::write_front() {
  const Outgoing& front = queue_.front();
  std::vector<asio::const_buffer> buffers{asio::buffer(front.head)};
  for (const Blob& blob : front.blobs) buffers.emplace_back(blob.bytes.data(), blob.bytes.size());
  start_timer(write_timer_, write_deadline(front.bytes), who() + " does not take what it is sent");
  socket_.async_write(buffers,
                      [self = shared_from_this()](error_code code, std::size_t) { self->on_written(code); });
}

void WebSocketConnection::on_written(error_code code) {
  write_timer_.cancel();
  queue_.pop_front();
  if (code) {
    queue_.clear();
    return abort();
  }
  queue_changed_.cancel();
  if (!is_lost_ && !queue_.empty()) write_front();
}

}  // namespace pinion::transport
