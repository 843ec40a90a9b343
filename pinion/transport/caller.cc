#include "pinion/transport/caller.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "pinion/transport/websocket_connection.h"

namespace pinion::transport {

std::string software_name() { return "pinion 0.1.0"; }

void Caller::start() {
  asio::co_spawn(
      connection_->executor(), [self = shared_from_this()] { return self->read_all(); }, asio::detached);
}

asio::awaitable<void> Caller::read_all() {
  for (;;) {
    Result<Message> message = co_await connection_->receive();
    if (!message.ok()) {
      ended_ = message.error();
      connection_->abort();
      fail_requests(*ended_);
      if (const Handler handler = std::exchange(handler_, nullptr)) handler(*ended_);
      co_return;
    }
    dispatch(std::move(message).value());
  }
}

void Caller::dispatch(Message message) {
  const auto reply_to = message.header.find("reply_to");
  if (reply_to != message.header.end() && reply_to->is_number_unsigned()) {
    const auto found = waiting_.find(reply_to->get<std::uint64_t>());
    if (found == waiting_.end()) return;  // it came after its deadline
    found->second->reply = std::move(message);
    found->second->timer.cancel();
    return;
  }
  if (handler_) handler_(std::move(message));
}

asio::awaitable<Result<Message>> Caller::request(Message message, Milliseconds deadline) {
  const auto self = shared_from_this();
  if (ended_) co_return *ended_;
  const std::uint64_t id = next_id_++;
  const std::string type(message.type());
  message.header["id"] = id;
  PINION_CO_TRY_VOID(connection_->send(message));
  message = Message();
  const auto waiting = std::make_shared<Waiting>(connection_->executor());
  waiting_.emplace(id, waiting);
  waiting->timer.expires_after(deadline);
  co_await waiting->timer.async_wait(kAsTuple);
  waiting_.erase(id);
  if (!waiting->reply) {
    co_return Error{Errc::kTimeout,
                    to_string(connection_->peer().address) + " did not answer \"" + type + "\" in " +
                        std::to_string(deadline.count()) + " ms",
                    ""};
  }
  if (waiting->reply->ok() && waiting->reply->value().type() == ErrorMessage::kType) {
    PINION_CO_TRY(const ErrorMessage error, read_header<ErrorMessage>(waiting->reply->value()));
    co_return error.to_error();
  }
  co_return std::move(*waiting->reply);
}

void Caller::fail_requests(const Error& why) {
  for (auto& [id, waiting] : waiting_) {
    if (!waiting->reply) waiting->reply = why;
    waiting->timer.cancel();
  }
}

void Caller::close() {
  handler_ = nullptr;
  if (ended_) return;
  ended_ = Error{Errc::kConnectionLost,
                 "connection to " + to_string(connection_->peer().address) + " is closed", ""};
  fail_requests(*ended_);
  asio::co_spawn(
      connection_->executor(),
      [connection = connection_] { return connection->finish(std::chrono::seconds(2)); }, asio::detached);
}

Error Caller::wrong_type(const Message& reply) const {
  return Error{Errc::kProtocol,
               to_string(connection_->peer().address) + " answered with an unexpected \"" +
                   std::string(reply.type().substr(0, 32)) + "\"",
               ""};
}

asio::awaitable<Result<HelloReply>> say_hello(std::shared_ptr<Caller> caller, HelloOptions options) {
  Hello hello;
  hello.software = software_name();
  PINION_CO_TRY(HelloReply reply, co_await caller->ask<HelloReply>(hello, options.deadline));
  const std::string who = to_string(caller->connection()->peer().address);
  if (reply.protocol < kProtocolMin || reply.protocol > kProtocolMax) {
    co_return Error{Errc::kVersionMismatch,
                    who + " (" + reply.hello.software + ") chose protocol " + std::to_string(reply.protocol) +
                        ", which this " + software_name() + " does not speak",
                    "install the same version on both sides"};
  }
  if (!reply.paired && options.must_be_paired) {
    co_return Error{Errc::kNotPaired, "the worker at " + who + " does not know this machine",
                    "run `pinion pair` with the line that the worker prints"};
  }
  caller->connection()->set_limits(kDefaultMessageBytes, reply.hello.max_message_bytes);
  co_return reply;
}

}  // namespace pinion::transport
