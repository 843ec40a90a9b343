#pragma once
// A link of a chosen speed in front of a worker: connections to address() go to the worker, and what the
// client sends arrives at so many bytes a second. The way back is as fast as loopback.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace pinion::test {

class SlowLink {
 public:
  // `worker` is "host:port", and so is `address`; a port of its own by default.
  SlowLink(const std::string& worker, double bytes_per_s, const std::string& address = "");
  ~SlowLink();  // breaks the connections

  std::string address() const;

 private:
  using Socket = boost::asio::ip::tcp::socket;
  void accept_all();
  void pump(Socket& from, Socket& to, double bytes_per_s);

  boost::asio::io_context io_;
  boost::asio::ip::tcp::endpoint worker_;
  const double bytes_per_s_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> is_stopping_ = false;
  std::mutex mutex_;  // guards the sockets' list
  std::vector<std::shared_ptr<Socket>> sockets_;
  std::vector<std::thread> pumps_;  // of the accepting thread until that ends
  std::thread accepting_;
};

}  // namespace pinion::test
