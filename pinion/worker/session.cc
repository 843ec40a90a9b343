#include "pinion/worker/session.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "pinion/base/log.h"

namespace pinion::worker {
namespace {

using transport::Message;
using transport::read_header;

constexpr transport::Milliseconds kPatience{5000};  // before authorisation
constexpr transport::Milliseconds kGoodbye{2000};
constexpr std::chrono::seconds kWrongSecretPause{1};
constexpr int kMaxRunningRequests = 16;
constexpr std::size_t kMaxStagesPerConnection = 16;

Error unexpected(std::string_view type, const std::string& when) {
  return Error{Errc::kProtocol, "message \"" + std::string(type.substr(0, 32)) + "\" " + when,
               "use the same version of pinion on both sides"};
}

}  // namespace

Session::Session(Hub& hub, transport::ConnectionPtr connection)
    : hub_(hub), connection_(std::move(connection)) {
  if (connection_->peer().fingerprint) fingerprint_ = to_hex(*connection_->peer().fingerprint);
}

asio::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  Result<void> talked;
  try {
    talked = co_await talk();
  } catch (const std::bad_alloc&) {
    talked = Error{Errc::kOutOfMemory, "no memory for a message", ""};
  }
  if (!talked.ok()) spdlog::debug("{}: {}", to_string(connection_->peer().address), talked.error().message());
  hub_.end_jobs([&](const Job& job) { return job.client() == connection_; });
  stages_.clear();
  co_await connection_->finish(kGoodbye);
}

void Session::leave() {
  asio::co_spawn(
      connection_->executor(), [self = shared_from_this()] { return self->connection_->finish(kGoodbye); },
      asio::detached);
}

asio::awaitable<Result<Message>> Session::next_message() {
  if (is_trusted()) co_return co_await connection_->receive();
  co_return co_await connection_->receive(kPatience);
}

asio::awaitable<Result<void>> Session::talk() {
  for (;;) {
    Result<Message> received = co_await next_message();
    if (!received.ok()) {
      const Error& error = received.error();
      if (error.code == Errc::kProtocol || error.code == Errc::kTooLarge) reply_error(Message(), error);
      co_return error;
    }
    Message request;  // as much of it as a reply needs
    if (const auto id = received->header.find("id"); id != received->header.end()) request.header["id"] = *id;
    Result<void> handled = co_await handle(std::move(received).value());
    if (!handled.ok()) {
      reply_error(request, handled.error());
      co_return handled;
    }
    co_await connection_->writable();
  }
}

asio::awaitable<Result<void>> Session::handle(Message message) {
  const std::string type(message.type());
  if (type == transport::Ping::kType && state_ != State::kNew) {
    const Result<void> answered = ping(message);
    if (!answered.ok()) reply_error(message, answered.error());
    co_return Result<void>();
  }
  if (state_ == State::kNew || state_ == State::kGreeted) {
    co_return co_await handle_before_authorisation(std::move(message));
  }
  if (type == transport::Step::kType) co_return step(std::move(message));
  if (state_ == State::kJoined) co_return unexpected(type, "is not for a stage to send");

  if (type == transport::OpenStage::kType) {
    spawn(open_stage(std::move(message)));
  } else if (type == transport::BeginJob::kType) {
    spawn(begin_job(std::move(message)));
  } else if (type == transport::EndJob::kType) {
    end_job(message, true);
  } else if (type == transport::Cancel::kType) {
    end_job(message, false);
  } else if (type == transport::JoinJob::kType) {
    const Result<void> joined = join_job(message);
    if (!joined.ok()) reply_error(message, joined.error());
  } else {
    reply_error(message, unexpected(type, "is unknown to this worker"));
  }
  co_return Result<void>();
}

Result<void> Session::ping(const Message& message) {
  PINION_TRY(const transport::Ping request, transport::read_header<transport::Ping>(message));
  transport::Pong pong;
  pong.clock_us = clock_us();
  std::vector<transport::Blob> blobs;
  if (request.reply_bytes) {
    if (state_ == State::kGreeted) {
      return Error{Errc::kNotPaired, "a ping for bytes came before pairing", "pair with `pinion pair` first"};
    }
    blobs.push_back(transport::probe_content(*request.reply_bytes));
  }
  reply(message, pong, std::move(blobs));
  return {};
}

asio::awaitable<Result<void>> Session::handle_before_authorisation(Message message) {
  const std::string_view type = message.type();
  if (state_ == State::kNew) {
    if (type != transport::Hello::kType) co_return unexpected(type, "came before hello");
    co_return hello(message);
  }
  if (type == transport::Pair::kType) co_return co_await pair(std::move(message));
  if (type == transport::JoinJob::kType) co_return join_job(message);
  co_return Error{Errc::kNotPaired, "this machine is not paired with the worker",
                  "run `pinion pair` with the line that the worker prints"};
}

Result<void> Session::hello(const Message& message) {
  PINION_TRY(client_, read_header<transport::Hello>(message));
  transport::HelloReply answer;
  answer.hello.software = transport::software_name();
  answer.hello.max_message_bytes = hub_.limits.max_message_bytes;
  answer.protocol = std::min(client_.protocol_max, transport::kProtocolMax);
  if (answer.protocol < client_.protocol_min || answer.protocol < transport::kProtocolMin) {
    const auto range = [](const transport::Hello& hello) {
      return hello.software + " speaks protocol " + std::to_string(hello.protocol_min) + " to " +
             std::to_string(hello.protocol_max);
    };
    return Error{Errc::kVersionMismatch,
                 "the worker's " + range(answer.hello) + ", the client's " + range(client_),
                 "install the same version on both sides"};
  }
  const transport::PeerInfo& peer = connection_->peer();
  answer.paired = peer.is_plain || (peer.fingerprint && hub_.peers.is_paired_client(*peer.fingerprint));
  if (answer.paired) {
    answer.device = hub_.device;
    answer.capabilities = hub_.capabilities;
    authorise();
  } else {
    state_ = State::kGreeted;
    hub_.offer_pairing(std::chrono::steady_clock::now());
  }
  reply(message, answer);
  return {};
}

void Session::authorise() {
  state_ = State::kAuthorised;
  connection_->set_limits(hub_.limits.max_message_bytes, client_.max_message_bytes);
}

asio::awaitable<Result<void>> Session::pair(Message message) {
  PINION_CO_TRY(const transport::Pair request, read_header<transport::Pair>(message));
  const transport::PeerInfo& peer = connection_->peer();
  if (!peer.fingerprint) co_return Error{Errc::kCertificate, "pairing needs a certificate", ""};
  const auto now = std::chrono::steady_clock::now();
  const Result<void> redeemed = hub_.secret.redeem(request.secret, now);
  if (!redeemed.ok()) {
    hub_.offer_pairing(now);
    asio::steady_timer pause(connection_->executor(), kWrongSecretPause);
    co_await pause.async_wait(transport::kAsTuple);
    co_return redeemed.error();
  }
  PINION_CO_TRY_VOID(hub_.peers.add_client(request.name, *peer.fingerprint));
  spdlog::info("paired with a client at {} ({})", peer.address.host,
               transport::short_fingerprint(*peer.fingerprint));
  authorise();
  reply(message, transport::Paired());
  co_return Result<void>();
}

Result<void> Session::join_job(const Message& message) {
  PINION_TRY(const transport::JoinJob request, read_header<transport::JoinJob>(message));
  const JobKey key{request.job, request.stage};
  const std::shared_ptr<Job> job = hub_.find(key);
  const transport::PeerInfo& peer = connection_->peer();
  // Whoever is not named learns no more than that.
  const bool is_expected = job && job->begin().upstream &&
                           job->begin().upstream->fingerprint == fingerprint_ &&
                           (peer.is_plain || !fingerprint_.empty());
  if (!is_expected) {
    return Error{Errc::kNotPaired, "no job here expects this stage", ""};
  }
  joined_.insert(key);
  if (state_ == State::kGreeted) state_ = State::kJoined;
  connection_->set_limits(hub_.limits.max_message_bytes, client_.max_message_bytes);
  transport::Joined joined;
  joined.bases = job->known_bases();
  reply(message, joined);
  return {};
}

void Session::spawn(asio::awaitable<void> request) {
  ++running_requests_;
  asio::co_spawn(connection_->executor(), std::move(request),
                 [self = shared_from_this()](const std::exception_ptr&) { --self->running_requests_; });
}

asio::awaitable<void> Session::open_stage(Message message) {
  const auto self = shared_from_this();
  const Result<void> done = co_await try_open_stage(message);
  if (!done.ok()) reply_error(message, done.error());
}

asio::awaitable<Result<void>> Session::try_open_stage(const Message& message) {
  if (running_requests_ > kMaxRunningRequests || stages_.size() >= kMaxStagesPerConnection) {
    co_return Error{Errc::kBusy, "too many requests on one connection", ""};
  }
  PINION_CO_TRY(const transport::OpenStage request, read_header<transport::OpenStage>(message));
  const std::optional<DType> dtype = dtype_from_name(request.dtype);
  if (!dtype || (*dtype != DType::kF32 && *dtype != DType::kBF16 && *dtype != DType::kF16)) {
    co_return Error{Errc::kUnsupported, "a stage cannot compute in " + request.dtype, "use F32, BF16 or F16"};
  }
  const StageKey key{request.model_hash, request.begin, request.end, *dtype};
  PINION_CO_TRY(const StageCache::Opened opened, co_await hub_.stages.open(key, request.model_label));
  transport::Ready ready;
  ready.handle = next_handle_++;
  ready.device = hub_.device;
  ready.weight_bytes = opened.stage->weight_bytes;
  ready.load_ms = opened.was_loaded ? 0 : opened.stage->load_ms;
  ready.blocks = static_cast<int>(opened.stage->info.blocks.size());
  stages_[ready.handle] = opened.stage;
  reply(message, ready);
  co_return Result<void>();
}

asio::awaitable<void> Session::begin_job(Message message) {
  const auto self = shared_from_this();
  const Result<void> done = co_await try_begin_job(message);
  if (!done.ok()) reply_error(message, done.error());
}

asio::awaitable<Result<void>> Session::try_begin_job(const Message& message) {
  if (running_requests_ > kMaxRunningRequests) {
    co_return Error{Errc::kBusy, "too many requests on one connection", ""};
  }
  PINION_CO_TRY(transport::BeginJob request, read_header<transport::BeginJob>(message));
  const auto stage = stages_.find(request.handle);
  if (stage == stages_.end())
    co_return Error{Errc::kNotFound, "begin_job names a stage that is not open", ""};
  JobSetup setup{std::move(request), stage->second, connection_, fingerprint_};
  const auto job = std::make_shared<Job>(hub_.services, std::move(setup));
  PINION_CO_TRY_VOID(hub_.add(job));
  const std::weak_ptr<Job> weak = job;
  job->on_end([&hub = hub_, weak] {
    if (const auto ended = weak.lock()) hub.remove(*ended);
  });
  const Result<void> opened = co_await job->open(message);
  if (!opened.ok()) {
    job->end();
    co_return opened.error();
  }
  transport::JobReady ready;
  ready.bases = job->known_bases();
  reply(message, ready);
  co_return Result<void>();
}

Result<void> Session::step(Message message) {
  Result<transport::Step> header = read_header<transport::Step>(message);
  // The stage before could do nothing with a reply: it learns by the end of the connection.
  if (!header.ok() && state_ == State::kJoined) return std::move(header).error();
  if (!header.ok()) {
    reply_error(message, header.error());
    return {};
  }
  const JobKey key{header->job, header->stage};
  const std::shared_ptr<Job> job = hub_.find(key);
  const bool may = job && (job->begin().stage == 0 ? job->client() == connection_ : joined_.contains(key));
  if (!may) {
    transport::ErrorMessage error =
        transport::ErrorMessage::of(Error{Errc::kNotFound, "the job is gone", ""});
    error.job = header->job;
    error.stage = header->stage;
    error.step = header->step;
    error.attempt = header->attempt;
    static_cast<void>(connection_->send(transport::make_message(error)));
    return {};
  }
  const Result<void> taken = job->take(std::move(header).value(), std::move(message));
  if (taken.ok()) return {};
  job->report(taken.error(), nullptr);
  job->end();
  return {};
}

void Session::end_job(const Message& message, bool wants_reply) {
  const Result<transport::EndJob> request = read_header<transport::EndJob>(message);
  if (!request.ok()) return reply_error(message, request.error());
  hub_.end_jobs(
      [&](const Job& job) { return job.begin().job == request->job && job.owner() == fingerprint_; });
  if (wants_reply) reply(message, transport::JobEnded());
}

template <class T>
void Session::reply(const Message& request, T content, std::vector<transport::Blob> blobs) {
  Message message = transport::make_message(std::move(content));
  message.blobs = std::move(blobs);
  if (const auto id = request.header.find("id"); id != request.header.end() && id->is_number_unsigned()) {
    message.header["reply_to"] = *id;
  }
  const Result<void> sent = connection_->send(message);
  if (!sent.ok())
    spdlog::debug("no reply to {}: {}", to_string(connection_->peer().address), sent.error().text);
}

void Session::reply_error(const Message& request, const Error& error) {
  reply(request, transport::ErrorMessage::of(error));
}

}  // namespace pinion::worker
