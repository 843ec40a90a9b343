#include "pinion/transport/http_exchange.h"

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "pinion/transport/as_tuple.h"

namespace pinion::transport {
namespace {

constexpr std::size_t kMaxHeaderBytes = 8 * 1024;

}  // namespace

asio::awaitable<std::optional<HttpRequest>> read_request(ByteStream& stream,
                                                         boost::beast::flat_buffer& received) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kMaxHeaderBytes);
  const auto [code, bytes] = co_await http::async_read_header(stream, received, parser, kAsTuple);
  if (code) co_return std::nullopt;
  co_return parser.release();
}

asio::awaitable<void> send_answer(ByteStream& stream, HttpAnswer answer) {
  co_await http::async_write(stream, answer, kAsTuple);
  co_await stream.say_goodbye();
}

bool asks_for_websocket(const HttpRequest& request, std::string_view path) {
  return boost::beast::websocket::is_upgrade(request) && request.target() == path;
}

}  // namespace pinion::transport
