#pragma once
// Answers to HTTP requests that are not WebSocket upgrades. Pure functions.

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

namespace pinion::transport {

namespace http = boost::beast::http;

using HttpRequest = http::request<http::empty_body>;
using HttpAnswer = http::response<http::string_body>;

// What the port says to a browser: what it is at "/", 404 elsewhere.
HttpAnswer answer_http(const HttpRequest& request);

// For a plain HTTP request where TLS is expected.
HttpAnswer answer_no_tls();

// Whether the first bytes of a connection are those of an HTTP request.
bool looks_like_http(std::string_view start);

}  // namespace pinion::transport
