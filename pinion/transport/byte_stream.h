#pragma once
// A connected TCP stream, with TLS or without, known at run time only. WebSocket and HTTP are built on this
// one type: Beast's templates are then instantiated once and over erased handlers, which keeps the build
// short.
//
// Used on the thread that runs its executor.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "pinion/transport/pairing_line.h"

namespace boost::asio::ssl {
class context;
}

namespace pinion::transport {

namespace asio = boost::asio;

// A handler of any type, called once. Move-only.
class IoHandler {
 public:
  template <class Handler>
  explicit IoHandler(Handler handler) : model_(std::make_unique<Model<Handler>>(std::move(handler))) {}

  void operator()(boost::system::error_code code, std::size_t bytes) { model_->call(code, bytes); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void call(boost::system::error_code code, std::size_t bytes) = 0;
  };
  template <class Handler>
  struct Model : Base {
    explicit Model(Handler handler) : handler_(std::move(handler)) {}
    void call(boost::system::error_code code, std::size_t bytes) override {
      Handler handler = std::move(handler_);  // it may free this model
      handler(code, bytes);
    }
    Handler handler_;
  };
  std::unique_ptr<Base> model_;
};

class ByteStream {
 public:
  using executor_type = asio::any_io_executor;
  using Signature = void(boost::system::error_code, std::size_t);

  explicit ByteStream(asio::ip::tcp::socket socket);
  ByteStream(asio::ip::tcp::socket socket, asio::ssl::context& tls);
  ~ByteStream();
  ByteStream(ByteStream&&) noexcept;
  ByteStream& operator=(ByteStream&&) noexcept;

  executor_type get_executor() const;
  asio::ip::tcp::socket& socket() const;

  // The TLS handshake; `received` is what was read from the peer already.
  asio::awaitable<boost::system::error_code> handshake_as_client();
  asio::awaitable<boost::system::error_code> handshake_as_server(asio::const_buffer received);

  // For a peer that does not speak it: the stream goes on without.
  void drop_tls();

  // Tells the peer that nothing follows.
  asio::awaitable<void> say_goodbye();

  // Of the certificate that the peer proved to own.
  std::optional<Fingerprint> fingerprint() const;

  // Ends all operations.
  void close();

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    return asio::async_initiate<Token, Signature>(
        [this](auto handler, asio::mutable_buffer buffer) {
          read_some(buffer, IoHandler(std::move(handler)));
        },
        token, first_of(buffers));
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    std::vector<asio::const_buffer> list(asio::buffer_sequence_begin(buffers),
                                         asio::buffer_sequence_end(buffers));
    return asio::async_initiate<Token, Signature>(
        [this](auto handler, std::vector<asio::const_buffer> from) {
          write_some(std::move(from), IoHandler(std::move(handler)));
        },
        token, std::move(list));
  }

 private:
  struct Layers;

  // Reading may fill less than all buffers: the first one will do.
  template <class Buffers>
  static asio::mutable_buffer first_of(const Buffers& buffers) {
    for (auto at = asio::buffer_sequence_begin(buffers); at != asio::buffer_sequence_end(buffers); ++at) {
      if (const asio::mutable_buffer buffer = *at; buffer.size() > 0) return buffer;
    }
    return {};
  }

  void read_some(asio::mutable_buffer buffer, IoHandler handler);
  void write_some(std::vector<asio::const_buffer> buffers, IoHandler handler);

  std::unique_ptr<Layers> layers_;
};

// What Beast's WebSocket asks of a stream, found by argument-dependent look-up.
void beast_close_socket(ByteStream& stream);
void teardown(boost::beast::role_type role, ByteStream& stream, boost::system::error_code& code);

template <class Handler>
void async_teardown(boost::beast::role_type role, ByteStream& stream, Handler&& handler) {
  boost::system::error_code code;
  teardown(role, stream, code);
  asio::post(stream.get_executor(),
             [handler = std::forward<Handler>(handler)]() mutable { handler(boost::system::error_code()); });
}

}  // namespace pinion::transport
