#pragma once
// A link of chosen speeds in front of a worker: connections to address() go to the worker, and what is sent
// arrives at so many bytes a second.

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
  // Bytes a second to the worker and back; 0: as fast as it goes.
  struct Speeds {
    double there = 0, back = 0;
  };
  // `worker` is "host:port", and so is `address`; a port of its own by default.
  SlowLink(const std::string& worker, Speeds speeds, const std::string& address = "");
  ~SlowLink();  // breaks the connections

  std::string address() const;

 private:
  using Socket = boost::asio::ip::tcp::socket;
  void accept_all();
  void pump(Socket& from, Socket& to, double bytes_per_s);

  boost::asio::io_context io_;
  boost::asio::ip::tcp::endpoint worker_;
  const Speeds speeds_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> is_stopping_ = false;
  std::mutex mutex_;  // guards the sockets' list
  std::vector<std::shared_ptr<Socket>> sockets_;
  std::vector<std::thread> pumps_;  // of the accepting thread until that ends
  std::thread accepting_;
};

}  // namespace pinion::test
