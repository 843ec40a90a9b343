#include "pinion/transport/byte_stream.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "pinion/transport/tls_context.h"

namespace pinion::transport {

using asio::ip::tcp;
using boost::system::error_code;

struct ByteStream::Layers {
  explicit Layers(tcp::socket plain) : socket(std::move(plain)) {}

  tcp::socket socket;
  std::optional<asio::ssl::stream<tcp::socket&>> tls;  // over `socket`
};

ByteStream::ByteStream(tcp::socket socket) : layers_(std::make_unique<Layers>(std::move(socket))) {}

ByteStream::ByteStream(tcp::socket socket, asio::ssl::context& tls) : ByteStream(std::move(socket)) {
  layers_->tls.emplace(layers_->socket, tls);
}

ByteStream::~ByteStream() = default;
ByteStream::ByteStream(ByteStream&&) noexcept = default;
ByteStream& ByteStream::operator=(ByteStream&&) noexcept = default;

ByteStream::executor_type ByteStream::get_executor() const { return layers_->socket.get_executor(); }
tcp::socket& ByteStream::socket() const { return layers_->socket; }

asio::awaitable<error_code> ByteStream::handshake_as_client() {
  error_code code;
  co_await layers_->tls->async_handshake(asio::ssl::stream_base::client,
                                         asio::redirect_error(asio::use_awaitable, code));
  co_return code;
}

asio::awaitable<error_code> ByteStream::handshake_as_server(asio::const_buffer received) {
  error_code code;
  co_await layers_->tls->async_handshake(asio::ssl::stream_base::server, received,
                                         asio::redirect_error(asio::use_awaitable, code));
  co_return code;
}

void ByteStream::drop_tls() { layers_->tls.reset(); }

asio::awaitable<void> ByteStream::say_goodbye() {
  error_code code;
  if (layers_->tls) co_await layers_->tls->async_shutdown(asio::redirect_error(asio::use_awaitable, code));
  layers_->socket.shutdown(tcp::socket::shutdown_send, code);
}

std::optional<Fingerprint> ByteStream::fingerprint() const {
  return layers_->tls ? peer_fingerprint(layers_->tls->native_handle()) : std::nullopt;
}

void ByteStream::close() {
  error_code ignored;
  layers_->socket.close(ignored);
}

void ByteStream::read_some(asio::mutable_buffer buffer, IoHandler handler) {
  if (layers_->tls) {
    layers_->tls->async_read_some(buffer, std::move(handler));
  } else {
    layers_->socket.async_read_some(buffer, std::move(handler));
  }
}

void ByteStream::write_some(std::vector<asio::const_buffer> buffers, IoHandler handler) {
  if (layers_->tls) {
    layers_->tls->async_write_some(buffers, std::move(handler));
  } else {
    layers_->socket.async_write_some(buffers, std::move(handler));
  }
}

void beast_close_socket(ByteStream& stream) { stream.close(); }

void teardown(boost::beast::role_type, ByteStream& stream, error_code& code) {
  stream.socket().shutdown(tcp::socket::shutdown_send, code);
  code = {};
}

}  // namespace pinion::transport
