#include "pinion/transport/websocket_connection.h"

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/websocket/error.hpp>

namespace pinion::transport {
namespace {

bool is_gone(beast::error_code code) {
  return code == websocket::error::closed || code == asio::error::eof ||
         code == asio::error::connection_reset || code == asio::error::broken_pipe ||
         code == asio::error::operation_aborted || code == asio::error::connection_aborted ||
         code == asio::ssl::error::stream_truncated;
}

}  // namespace

Error connection_error(beast::error_code code, const std::string& who) {
  if (code == beast::error::timeout) {
    return Error{Errc::kConnectionLost,
                 who + " has been silent for " + std::to_string(kSilence.count()) + " s", ""};
  }
  if (is_gone(code)) return Error{Errc::kConnectionLost, "connection to " + who + " is lost", ""};
  if (code == websocket::condition::protocol_violation) {
    return Error{Errc::kProtocol, who + " does not follow the WebSocket protocol: " + code.message(), ""};
  }
  return Error{Errc::kConnectionLost, "connection to " + who + " is lost: " + code.message(), ""};
}

Milliseconds write_deadline(std::size_t bytes) {
  constexpr std::size_t kSlowestBytesPerSecond = 100'000;
  return std::chrono::seconds(30) + Milliseconds(bytes * 1000 / kSlowestBytesPerSecond);
}

}  // namespace pinion::transport
