#include "pinion/worker/worker.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <set>

#include "pinion/base/log.h"
#include "pinion/worker/session.h"

namespace pinion::worker {
namespace {

constexpr std::chrono::milliseconds kShutdownLimit{2000};

// The address that others on the network are likely to reach this machine by. Sends nothing: it asks the
// routing table, with an address that is reserved for documentation.
std::string own_address() {
  asio::io_context io;
  asio::ip::udp::socket socket(io);
  boost::system::error_code code;
  const asio::ip::udp::endpoint elsewhere(asio::ip::make_address("192.0.2.1"), 9);
  socket.connect(elsewhere, code);
  if (!code) {
    const auto local = socket.local_endpoint(code);
    if (!code) return local.address().to_string();
  }
  return "127.0.0.1";
}

std::string public_host(const WorkerOptions& options) {
  if (!options.public_host.empty()) return options.public_host;
  const std::string& bind = options.listen.bind.host;
  return bind == "0.0.0.0" || bind == "::" ? own_address() : bind;
}

}  // namespace

class Worker::Running {
 public:
  Running(WorkerOptions options, Backend backend, transport::Identity identity)
      : options_(std::move(options)),
        backend_(std::move(backend)),
        identity_(std::move(identity)),
        catalogue_(io_.get_executor(), backend_, options_.models),
        stages_(backend_, catalogue_, compute_, options_.stages),
        bases_(options_.bases_folder),
        hub_(JobServices{backend_, identity_, *compute_, codec_threads_, bases_, options_.idle_job_limit},
             stages_, transport::PeerStore(options_.config_folder), options_.limits) {
    hub_.device = name(options_.stages.device);
    const std::string& generator = backend_.noise.generator;
    if (!generator.empty()) hub_.capabilities.push_back(std::string(transport::kNoiseCapability) + generator);
    hub_.capabilities.emplace_back(transport::kReferencesCapability);
    hub_.capabilities.emplace_back(transport::kResponsesCapability);
    hub_.capabilities.emplace_back(transport::kMapsCapability);
    hub_.capabilities.emplace_back(transport::kVelocityProfilesCapability);
    hub_.announce_secret = [this](const std::string& secret) { announce(secret); };
  }

  Result<void> listen() {
    PINION_TRY(listener_, transport::Listener::open(io_.get_executor(), identity_, options_.listen));
    address_ = {public_host(options_), listener_->port()};
    return {};
  }

  void run() {
    catalogue_.scan();
    hub_.offer_pairing(std::chrono::steady_clock::now());
    listener_->start([this](transport::ConnectionPtr connection) { welcome(std::move(connection)); });
    io_.run();
  }

  void stop() {
    asio::post(io_, [this] { shut_down(); });
  }

  const transport::Address& address() const { return address_; }
  const transport::Identity& identity() const { return identity_; }
  bool is_computing() const { return !compute_->is_idle(); }

 private:
  void announce(const std::string& secret) {
    const transport::PairingLine line{address_, identity_.fingerprint(), secret};
    if (options_.on_pairing_line) options_.on_pairing_line(to_string(line));
  }

  void welcome(transport::ConnectionPtr connection) {
    const auto strangers = std::count_if(sessions_.begin(), sessions_.end(),
                                         [](const auto& session) { return !session->is_trusted(); });
    if (static_cast<int>(sessions_.size()) >= options_.limits.max_connections ||
        strangers >= options_.limits.max_strangers) {
      return connection->abort();
    }
    const auto session = std::make_shared<Session>(hub_, std::move(connection));
    sessions_.insert(session);
    asio::co_spawn(io_, session->run(), [this, session](const std::exception_ptr& failure) {
      if (failure) spdlog::error("a connection ended by an exception");
      sessions_.erase(session);
      if (is_stopping_ && sessions_.empty()) io_.stop();
    });
  }

  // Stops listening, tells those who have a job here, and ends when they are gone or have had their time.
  void shut_down() {
    if (is_stopping_) return;
    is_stopping_ = true;
    listener_->stop();
    const Error leaving{Errc::kConnectionLost, "the worker was stopped", "start it again, or use another"};
    hub_.fail_jobs(leaving);
    if (sessions_.empty()) return io_.stop();
    for (const auto& session : sessions_) session->leave();
    shutdown_timer_.expires_after(kShutdownLimit);
    shutdown_timer_.async_wait([this](boost::system::error_code) { io_.stop(); });
  }

  WorkerOptions options_;
  const Backend backend_;
  const transport::Identity identity_;
  // Threads outlive what hands them work, and the I/O context outlives what waits on it.
  asio::io_context io_;
  asio::thread_pool codec_threads_{1};
  const std::shared_ptr<ComputeQueue> compute_ = std::make_shared<ComputeQueue>();
  Catalogue catalogue_;
  StageCache stages_;
  const codec::BasisStore bases_;
  Hub hub_;
  asio::steady_timer shutdown_timer_{io_};
  std::shared_ptr<transport::Listener> listener_;
  transport::Address address_;
  std::set<std::shared_ptr<Session>> sessions_;
  bool is_stopping_ = false;
};

Result<std::unique_ptr<Worker>> Worker::open(WorkerOptions options, Backend backend) {
  PINION_TRY(transport::Identity identity, transport::Identity::load_or_create(options.config_folder));
  auto running = std::make_unique<Running>(std::move(options), std::move(backend), std::move(identity));
  PINION_TRY_VOID(running->listen());
  return std::unique_ptr<Worker>(new Worker(std::move(running)));
}

Worker::Worker(std::unique_ptr<Running> running) : running_(std::move(running)) {}
Worker::~Worker() = default;

transport::Address Worker::address() const { return running_->address(); }
const transport::Fingerprint& Worker::fingerprint() const { return running_->identity().fingerprint(); }
void Worker::run() { running_->run(); }
void Worker::stop() { running_->stop(); }
bool Worker::is_computing() const { return running_->is_computing(); }

}  // namespace pinion::worker
