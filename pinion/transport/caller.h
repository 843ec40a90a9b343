#pragma once
// The asking end of a connection: sends requests and matches replies to them; all else goes to a handler.
// Used on the connection's thread only. The handler must not outlive what it captures: close() drops it.

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>

#include "pinion/transport/connection.h"
#include "pinion/transport/messages.h"

namespace pinion::transport {

class Caller : public std::enable_shared_from_this<Caller> {
 public:
  // A message that answers no request (Result ok), or the end of the connection (error, once).
  using Handler = std::function<void(Result<Message>)>;

  Caller(ConnectionPtr connection, Handler handler)
      : connection_(std::move(connection)), handler_(std::move(handler)) {}

  void start();  // begins to read

  // The reply, or the error that the peer answered, or kTimeout, or why the connection ended.
  asio::awaitable<Result<Message>> request(Message message, Milliseconds deadline);

  // The reply as a struct; kProtocol if it is of another type.
  template <class Reply, class Ask>
  asio::awaitable<Result<Reply>> ask(Ask question, Milliseconds deadline) {
    Message message = make_message(std::move(question));
    PINION_CO_TRY(const Message reply, co_await request(std::move(message), deadline));
    if (reply.type() != Reply::kType) co_return wrong_type(reply);
    co_return read_header<Reply>(reply);
  }

  Result<void> send(const Message& message) { return connection_->send(message); }
  const ConnectionPtr& connection() const { return connection_; }

  // Ends all requests that wait with `why`; the connection stays.
  void fail_requests(const Error& why);

  // Drops the handler and closes the connection, politely if there is time.
  void close();

 private:
  struct Waiting {
    explicit Waiting(asio::any_io_executor executor) : timer(std::move(executor)) {}
    asio::steady_timer timer;
    std::optional<Result<Message>> reply;
  };

  asio::awaitable<void> read_all();
  void dispatch(Message message);
  Error wrong_type(const Message& reply) const;

  ConnectionPtr connection_;
  Handler handler_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, std::shared_ptr<Waiting>> waiting_;
  std::optional<Error> ended_;
};

// Says hello on a fresh connection and raises its limits to what both sides take. kVersionMismatch,
// kNotPaired if the worker does not know us and `must_be_paired`.
struct HelloOptions {
  Milliseconds deadline{4000};
  bool must_be_paired = true;
};
asio::awaitable<Result<HelloReply>> say_hello(std::shared_ptr<Caller> caller, HelloOptions options);

// "pinion 0.1.0"
std::string software_name();

}  // namespace pinion::transport
