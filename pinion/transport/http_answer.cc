#include "pinion/transport/http_answer.h"

namespace pinion::transport {
namespace {

HttpAnswer text_answer(http::status status, std::string text) {
  HttpAnswer answer{status, 11};
  answer.set(http::field::server, "pinion");
  answer.set(http::field::content_type, "text/plain; charset=utf-8");
  answer.set(http::field::connection, "close");
  answer.body() = std::move(text);
  answer.prepare_payload();
  return answer;
}

}  // namespace

HttpAnswer answer_http(const HttpRequest& request) {
  if (request.method() == http::verb::get && request.target() == "/") {
    return text_answer(http::status::ok,
                       "This is a Pinion worker. Pair with it by `pinion pair LINE`, with the line that it "
                       "printed, then use it with `pinion generate --worker HOST:PORT`.\n");
  }
  return text_answer(http::status::not_found, "There is nothing here.\n");
}

HttpAnswer answer_no_tls() {
  return text_answer(http::status::bad_request, "This port speaks TLS only: use https.\n");
}

bool looks_like_http(std::string_view start) {
  for (const std::string_view method : {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH "}) {
    const std::size_t length = std::min(start.size(), method.size());
    if (length > 0 && start.substr(0, length) == method.substr(0, length)) return true;
  }
  return false;
}

}  // namespace pinion::transport
