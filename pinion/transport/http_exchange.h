#pragma once
// Reading one HTTP request and answering it. The caller sees to the deadline.

#include <boost/beast/core/flat_buffer.hpp>
#include <optional>

#include "pinion/transport/byte_stream.h"
#include "pinion/transport/http_answer.h"

namespace pinion::transport {

// The request's header; `received` is what was read already. Nothing if it is no HTTP, or too long.
asio::awaitable<std::optional<HttpRequest>> read_request(ByteStream& stream,
                                                         boost::beast::flat_buffer& received);

// Sends the answer and ends the stream; what goes wrong is the peer's business.
asio::awaitable<void> send_answer(ByteStream& stream, HttpAnswer answer);

bool asks_for_websocket(const HttpRequest& request, std::string_view path);

}  // namespace pinion::transport
