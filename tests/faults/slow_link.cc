#include "tests/faults/slow_link.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

#include "pinion/transport/address.h"

namespace pinion::test {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Small, so that the buffers of the machine hide little of the speed.
constexpr int kSocketBufferBytes = 16 << 10;
constexpr std::size_t kPieceBytes = 4 << 10;

tcp::endpoint endpoint_of(const std::string& text) {
  const transport::Address address = transport::parse_address(text).value();
  return {asio::ip::make_address(address.host), address.port};
}

}  // namespace

SlowLink::SlowLink(const std::string& worker, Speeds speeds, const std::string& address)
    : worker_(endpoint_of(worker)), speeds_(speeds), acceptor_(io_) {
  acceptor_.open(tcp::v4());
  acceptor_.set_option(asio::socket_base::receive_buffer_size(kSocketBufferBytes));
  acceptor_.set_option(asio::socket_base::reuse_address(true));
  acceptor_.bind(address.empty() ? tcp::endpoint(asio::ip::address_v4::loopback(), 0) : endpoint_of(address));
  acceptor_.listen();
  accepting_ = std::thread([this] { accept_all(); });
}

SlowLink::~SlowLink() {
  is_stopping_ = true;
  boost::system::error_code ignored;
  {
    Socket wake(io_);  // accept() waits for one
    wake.connect(acceptor_.local_endpoint(), ignored);
    accepting_.join();
  }
  {
    const std::lock_guard lock(mutex_);
    for (const auto& socket : sockets_) socket->shutdown(Socket::shutdown_both, ignored);
  }
  for (std::thread& pump : pumps_) pump.join();
}

std::string SlowLink::address() const {
  return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
}

void SlowLink::accept_all() {
  boost::system::error_code code;
  while (!is_stopping_) {
    const auto client = std::make_shared<Socket>(io_), worker = std::make_shared<Socket>(io_);
    acceptor_.accept(*client, code);
    if (code || is_stopping_) return;
    worker->connect(worker_, code);
    if (code) continue;
    client->set_option(tcp::no_delay(true), code);
    worker->set_option(tcp::no_delay(true), code);
    const std::lock_guard lock(mutex_);
    sockets_.insert(sockets_.end(), {client, worker});
    pumps_.emplace_back([this, client, worker] { pump(*client, *worker, speeds_.there); });
    pumps_.emplace_back([this, client, worker] { pump(*worker, *client, speeds_.back); });
  }
}

void SlowLink::pump(Socket& from, Socket& to, double bytes_per_s) {
  std::vector<std::byte> piece(kPieceBytes);
  boost::system::error_code code;
  auto due = std::chrono::steady_clock::now();
  while (!code) {
    const std::size_t size = from.read_some(asio::buffer(piece), code);
    if (code) break;
    if (bytes_per_s > 0) {
      due = std::max(due, std::chrono::steady_clock::now()) +
            std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                std::chrono::duration<double>(static_cast<double>(size) / bytes_per_s));
      std::this_thread::sleep_until(due);
    }
    asio::write(to, asio::buffer(piece.data(), size), code);
  }
  to.shutdown(Socket::shutdown_send, code);
}

}  // namespace pinion::test
