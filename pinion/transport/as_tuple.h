#pragma once
// Waiting without exceptions: `const auto [code, ...] = co_await operation(kAsTuple)`.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace pinion::transport {

inline constexpr auto kAsTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

}  // namespace pinion::transport
