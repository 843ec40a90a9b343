#include "tests/faults/raw_peer.h"

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>

namespace pinion::test {
namespace {

namespace asio = boost::asio;
using transport::Message;

constexpr transport::Milliseconds kPatience{5000};

transport::Address address_of(const std::string& text) { return transport::parse_address(text).value(); }

// Reads until the end of the stream.
template <class Stream>
std::string read_all(Stream& stream) {
  std::string text;
  std::array<char, 4096> buffer{};
  boost::system::error_code code;
  while (!code) text.append(buffer.data(), stream.read_some(asio::buffer(buffer), code));
  return text;
}

}  // namespace

RawPeer::RawPeer(const std::string& address, const transport::Identity& identity)
    : io_(std::make_unique<client::IoThread>()) {
  transport::DialOptions options;
  options.address = address_of(address);
  Result<transport::ConnectionPtr> dialled =
      io_->wait_for<transport::ConnectionPtr>(transport::dial(identity, std::move(options)));
  EXPECT_TRUE(dialled.ok()) << dialled.error().message();
  connection_ = std::move(dialled).value();
  on_network<bool>([this] {
    connection_->set_limits(transport::kDefaultMessageBytes, transport::kDefaultMessageBytes);
    return true;
  });
}

RawPeer::~RawPeer() {
  on_network<bool>([this] {
    connection_->abort();
    connection_.reset();
    return true;
  });
}

template <class T>
T RawPeer::on_network(std::function<T()> call) {
  std::promise<T> result;
  asio::post(io_->context(), [&] { result.set_value(call()); });
  return result.get_future().get();
}

void RawPeer::send(const Message& message) {
  on_network<bool>([&] { return connection_->send(message).ok(); });
}

Result<Message> RawPeer::receive() { return io_->wait_for<Message>(connection_->receive(kPatience)); }

Result<Message> RawPeer::ask(Message message) {
  message.header["id"] = next_id_++;
  send(message);
  return receive();
}

bool RawPeer::hello() {
  transport::Hello hello;
  hello.software = "raw peer";
  const Result<Message> reply = ask(transport::make_message(hello));
  EXPECT_TRUE(reply.ok()) << reply.error().message();
  if (!reply.ok()) return false;
  const Result<transport::HelloReply> read = transport::read_header<transport::HelloReply>(*reply);
  EXPECT_TRUE(read.ok()) << reply->header.dump();
  return read.ok() && read->paired;
}

Error RawPeer::receive_error() {
  const Result<Message> message = receive();
  if (!message.ok()) return message.error();
  EXPECT_EQ(message->type(), "error") << message->header.dump();
  const Result<transport::ErrorMessage> error = transport::read_header<transport::ErrorMessage>(*message);
  return error.ok() ? error->to_error() : error.error();
}

bool RawPeer::is_closed() {
  Result<Message> message = receive();
  if (message.ok()) message = receive();
  return !message.ok() && message.error().code != Errc::kTimeout;
}

std::optional<std::string> send_bytes(const std::string& address, const std::string& bytes,
                                      bool through_tls) {
  asio::io_context io;
  asio::ip::tcp::resolver resolver(io);
  asio::ssl::context tls(asio::ssl::context::tls_client);
  asio::ssl::stream<asio::ip::tcp::socket> stream(io, tls);
  const transport::Address where = address_of(address);
  asio::connect(stream.next_layer(), resolver.resolve(where.host, std::to_string(where.port)));
  const timeval limit{6, 0};
  ::setsockopt(stream.next_layer().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  const auto begin = std::chrono::steady_clock::now();
  std::string answer;
  boost::system::error_code code;
  if (through_tls) {
    stream.handshake(asio::ssl::stream_base::client, code);
    asio::write(stream, asio::buffer(bytes), code);
    answer = read_all(stream);
  } else {
    asio::write(stream.next_layer(), asio::buffer(bytes), code);
    answer = read_all(stream.next_layer());
  }
  if (std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(5800)) return std::nullopt;
  return answer;
}

}  // namespace pinion::test
