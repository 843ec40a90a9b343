// Connections over real loopback sockets: what a listener and a dialler make of each other.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "pinion/transport/caller.h"
#include "pinion/transport/dial.h"
#include "pinion/transport/listener.h"

namespace pinion::transport {
namespace {

using std::chrono::milliseconds;

Message text_message(const std::string& type) {
  Message message;
  message.header["type"] = type;
  return message;
}

class Connections : public testing::Test {
 protected:
  // Serves each connection by `serve` and runs `talk` with one to it, until `talk` is done.
  void run(std::function<asio::awaitable<void>(ConnectionPtr)> serve,
           std::function<asio::awaitable<void>(ConnectionPtr)> talk) {
    ListenOptions options;
    options.bind = {"127.0.0.1", 0};
    Result<std::shared_ptr<Listener>> listener = Listener::open(io_.get_executor(), server_, options);
    ASSERT_TRUE(listener.ok()) << listener.error().message();
    (*listener)->start([&](ConnectionPtr connection) {
      asio::co_spawn(io_, serve(std::move(connection)), [](const std::exception_ptr&) {});
    });
    asio::co_spawn(io_, dial_and(talk, (*listener)->port()), [&](const std::exception_ptr& failure) {
      EXPECT_FALSE(failure);
      io_.stop();
    });
    io_.run();
  }

  asio::awaitable<void> dial_and(std::function<asio::awaitable<void>(ConnectionPtr)> talk,
                                 std::uint16_t port) {
    DialOptions options;
    options.address = {"localhost", port};
    options.accept = [&](const Fingerprint& shown) -> Result<void> {
      EXPECT_EQ(shown, server_.fingerprint());
      return {};
    };
    Result<ConnectionPtr> connection = co_await dial(client_, options);
    EXPECT_TRUE(connection.ok()) << connection.error().message();
    if (connection.ok()) co_await talk(*connection);
  }

  asio::io_context io_;
  const Identity server_ = Identity::create().value();
  const Identity client_ = Identity::create().value();
};

asio::awaitable<void> echo(ConnectionPtr connection) {
  connection->set_limits(kDefaultMessageBytes, kDefaultMessageBytes);
  for (;;) {
    const Result<Message> message = co_await connection->receive();
    if (!message.ok()) co_return;
    EXPECT_TRUE(connection->send(*message).ok());
  }
}

TEST_F(Connections, CarryMessagesOfAnySizeBothWays) {
  run(
      [&](ConnectionPtr connection) {
        EXPECT_EQ(connection->peer().fingerprint, client_.fingerprint());
        return echo(std::move(connection));
      },
      [](ConnectionPtr connection) -> asio::awaitable<void> {
        connection->set_limits(kDefaultMessageBytes, kDefaultMessageBytes);
        for (const std::size_t size : {0, 1, 16'384, 300'000, 20'000'000}) {
          Message message = text_message("echo");
          Bytes content(size);
          for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<std::byte>(i * 31 >> 3);
          message.add(Blob::of(content));
          EXPECT_TRUE(connection->send(message).ok());
          const Result<Message> reply = co_await connection->receive(milliseconds(20'000));
          EXPECT_TRUE(reply.ok()) << reply.error().text;
          if (!reply.ok()) co_return;
          EXPECT_TRUE(std::ranges::equal(reply->blobs.at(0).bytes, content)) << size;
        }
      });
}

TEST_F(Connections, AFullQueueRefuses) {
  run([](ConnectionPtr connection) { return echo(std::move(connection)); },
      [](ConnectionPtr connection) -> asio::awaitable<void> {
        std::size_t sent = 0;
        Result<void> last;
        while (last.ok() && sent < 1000) {
          last = connection->send(text_message("x"));
          sent += last.ok() ? 1 : 0;
        }
        EXPECT_EQ(sent, kMaxQueuedMessages);
        EXPECT_EQ(last.error().code, Errc::kBusy);
        co_await connection->writable();
        EXPECT_TRUE(connection->send(text_message("x")).ok());
      });
}

TEST_F(Connections, AMissedDeadlineIsATimeout) {
  run([](ConnectionPtr connection) { return echo(std::move(connection)); },
      [](ConnectionPtr connection) -> asio::awaitable<void> {
        const Result<Message> nothing = co_await connection->receive(milliseconds(50));
        EXPECT_EQ(nothing.error().code, Errc::kTimeout);
        EXPECT_EQ(connection->send(text_message("x")).error().code, Errc::kConnectionLost);
      });
}

TEST_F(Connections, FinishDeliversWhatIsQueued) {
  int received = 0;
  run(
      [&](ConnectionPtr connection) -> asio::awaitable<void> {
        while ((co_await connection->receive()).ok()) ++received;
      },
      [&](ConnectionPtr connection) -> asio::awaitable<void> {
        for (int i = 0; i < 50; ++i) EXPECT_TRUE(connection->send(text_message("x")).ok());
        co_await connection->finish(milliseconds(2000));
        EXPECT_EQ(connection->send(text_message("x")).error().code, Errc::kConnectionLost);
      });
  EXPECT_EQ(received, 50);
}

// What a dialler says of a port where `answer` is sent, if anything, before the connection is closed.
Error error_of_dialling(const Identity& identity, std::string_view answer, bool is_reset) {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
  asio::ip::tcp::socket accepted(io);
  acceptor.async_accept(accepted, [&](boost::system::error_code code) {
    EXPECT_FALSE(code);
    asio::write(accepted, asio::buffer(answer));
    accepted.set_option(asio::socket_base::linger(is_reset, 0));
    if (!is_reset) accepted.shutdown(asio::socket_base::shutdown_send);
    if (is_reset) accepted.close();
  });
  DialOptions options;
  options.address = {"127.0.0.1", acceptor.local_endpoint().port()};
  std::optional<Error> error;
  const auto dial_it = [&]() -> asio::awaitable<void> {
    const Result<ConnectionPtr> connection = co_await dial(identity, options);
    if (!connection.ok()) error = connection.error();
  };
  asio::co_spawn(io, dial_it(), asio::detached);
  io.run_for(std::chrono::seconds(10));
  return error.value();
}

// The kernel takes connections for a process that is being killed, and resets them when it is gone.
TEST_F(Connections, AHangUpInAHandshakeIsNotCalledAnotherProtocol) {
  for (const bool is_reset : {true, false}) {
    const Error error = error_of_dialling(client_, "", is_reset);
    EXPECT_EQ(error.code, Errc::kUnreachable) << error.message();
    EXPECT_THAT(error.message(), testing::HasSubstr("check that `pinion worker` runs"));
  }
  const Error error = error_of_dialling(client_, "SSH-2.0-OpenSSH_9.2\r\n", false);
  EXPECT_EQ(error.code, Errc::kProtocol) << error.message();
  EXPECT_THAT(error.message(), testing::HasSubstr("does not speak TLS 1.3"));
}

// A worker of the future, in two ways to say so.
TEST_F(Connections, AWorkerOfAnotherVersionIsAClearError) {
  for (const bool by_error : {true, false}) {
    run(
        [&, by_error](ConnectionPtr connection) -> asio::awaitable<void> {
          const Result<Message> hello = co_await connection->receive();
          HelloReply reply;
          reply.hello.software = "pinion 7.0";
          reply.protocol = 9;
          Message message = by_error
                                ? make_message(ErrorMessage::of(Error{
                                      Errc::kVersionMismatch, "speaks 7 to 9, you speak 1 to 1", "update"}))
                                : make_message(reply);
          message.header["reply_to"] = hello->header["id"];
          EXPECT_TRUE(connection->send(message).ok());
          co_await connection->finish(milliseconds(2000));
        },
        [&](ConnectionPtr connection) -> asio::awaitable<void> {
          const auto caller = std::make_shared<Caller>(connection, nullptr);
          caller->start();
          const Result<HelloReply> reply = co_await say_hello(caller, HelloOptions());
          EXPECT_FALSE(reply.ok());
          if (reply.ok()) co_return;
          EXPECT_EQ(reply.error().code, Errc::kVersionMismatch);
          EXPECT_NE(reply.error().text.find("9"), std::string::npos);
          EXPECT_NE(reply.error().message().find(by_error ? "update" : "same version"), std::string::npos);
        });
    io_.restart();
  }
}

TEST_F(Connections, ARequestEndsWithItsConnectionOrItsDeadline) {
  run(
      [&](ConnectionPtr connection) -> asio::awaitable<void> {
        static_cast<void>(co_await connection->receive());  // the first stays without an answer
        static_cast<void>(co_await connection->receive());
        connection->abort();
      },
      [&](ConnectionPtr connection) -> asio::awaitable<void> {
        int ends = 0;
        const auto caller = std::make_shared<Caller>(connection, [&](Result<Message> message) {
          EXPECT_FALSE(message.ok());
          ++ends;
        });
        caller->start();
        Message question = text_message("question");
        const Result<Message> unanswered = co_await caller->request(question, milliseconds(50));
        EXPECT_EQ(unanswered.error().code, Errc::kTimeout);
        EXPECT_NE(unanswered.error().text.find("question"), std::string::npos);
        const Result<Message> cut_off = co_await caller->request(question, milliseconds(5000));
        EXPECT_EQ(cut_off.error().code, Errc::kConnectionLost);
        EXPECT_EQ(ends, 1);
        const Result<Message> too_late = co_await caller->request(question, milliseconds(5000));
        EXPECT_EQ(too_late.error().code, Errc::kConnectionLost);
      });
}

TEST_F(Connections, APortThatIsTakenIsNamed) {
  ListenOptions options;
  options.bind = {"127.0.0.1", 0};
  const auto first = Listener::open(io_.get_executor(), server_, options);
  ASSERT_TRUE(first.ok());
  options.bind.port = (*first)->port();
  const auto second = Listener::open(io_.get_executor(), server_, options);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Errc::kIo);
  EXPECT_NE(second.error().text.find(std::to_string(options.bind.port)), std::string::npos);
  options.bind = {"192.0.2.1", 0};
  EXPECT_FALSE(Listener::open(io_.get_executor(), server_, options).ok());
}

}  // namespace
}  // namespace pinion::transport
