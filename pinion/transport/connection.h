#pragma once
// One WebSocket connection that carries messages, over TLS or plain loopback TCP.
//
// All calls are made on the thread that runs executor(), and one coroutine at a time receives. Every
// operation has a deadline, or ends when the peer has been silent for kSilence (docs/protocol.md, section
// 9): when one passes, the connection is lost for good. Shared by the coroutines that use it.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "pinion/transport/message.h"
#include "pinion/transport/pairing_line.h"

namespace pinion::transport {

namespace asio = boost::asio;
using Milliseconds = std::chrono::milliseconds;

inline constexpr std::chrono::seconds kSilence{20};
inline constexpr std::size_t kMaxQueuedMessages = 64;

struct PeerInfo {
  Address address;
  std::optional<Fingerprint> fingerprint;  // of its certificate; none if it showed none
  bool is_plain = false;                   // no TLS: loopback only
};

class Connection {
 public:
  virtual ~Connection() = default;

  virtual const PeerInfo& peer() const = 0;
  virtual asio::any_io_executor executor() = 0;

  // The next message. kConnectionLost: the peer went away; kTimeout: nothing came within `deadline`. After
  // kTooLarge and kProtocol the peer may still be told, but nothing more can be received.
  virtual asio::awaitable<Result<Message>> receive() = 0;
  virtual asio::awaitable<Result<Message>> receive(Milliseconds deadline) = 0;

  // Puts the message in the queue. kTooLarge: the peer would not take it; kBusy: the queue is full;
  // kConnectionLost. The message's blobs stay alive until they are written.
  virtual Result<void> send(const Message& message) = 0;

  // Until the queue has room again (at once if it has).
  virtual asio::awaitable<void> writable() = 0;

  // Largest message to accept from now on, and largest one the peer said it accepts.
  virtual void set_limits(std::size_t receive_bytes, std::size_t send_bytes) = 0;

  // Writes what is queued, says goodbye, and closes, all within `deadline`.
  virtual asio::awaitable<void> finish(Milliseconds deadline) = 0;

  // Closes at once; pending operations end with kConnectionLost.
  virtual void abort() = 0;
};

using ConnectionPtr = std::shared_ptr<Connection>;

}  // namespace pinion::transport
