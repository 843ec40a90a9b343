#pragma once
// A peer of a worker that says what a test tells it to, right or wrong. Used by one thread; calls block.

#include "pinion/client/io_thread.h"
#include "pinion/transport/caller.h"
#include "pinion/transport/dial.h"

namespace pinion::test {

class RawPeer {
 public:
  // Connects with a certificate of its own; no message is sent.
  RawPeer(const std::string& address, const transport::Identity& identity);
  ~RawPeer();

  // Sends without looking at limits.
  void send(const transport::Message& message);

  // The next message, or what the connection ended with. kTimeout after 5 s.
  Result<transport::Message> receive();

  // Sends a request with an id and returns the next message.
  Result<transport::Message> ask(transport::Message message);

  // Says a proper hello; true if the worker knows this peer.
  bool hello();

  // The error in the next message; fails the test if it is something else.
  Error receive_error();

  // Whether the worker closes the connection now, after at most one message.
  bool is_closed();

 private:
  template <class T>
  T on_network(std::function<T()> call);

  std::unique_ptr<client::IoThread> io_;
  transport::ConnectionPtr connection_;
  std::uint64_t next_id_ = 1;
};

// Opens a TCP connection, sends `bytes` (through TLS if `through_tls`), and returns what comes back until the
// other side closes or 6 s have passed; nothing if it did not close.
std::optional<std::string> send_bytes(const std::string& address, const std::string& bytes, bool through_tls);

}  // namespace pinion::test
