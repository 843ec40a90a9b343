#pragma once
// One connection to the worker: the state machine of docs/protocol.md, section 8. One coroutine reads; what
// takes long runs in coroutines of its own. I/O thread only.

#include <map>
#include <set>

#include "pinion/worker/hub.h"

namespace pinion::worker {

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Hub& hub, transport::ConnectionPtr connection);

  // Talks until the connection ends; then the jobs it began end too.
  asio::awaitable<void> run();

  // Whether the peer has shown that it may use the worker, or send steps of one job.
  bool is_trusted() const { return state_ == State::kAuthorised || state_ == State::kJoined; }

  // Says goodbye, after which run() returns.
  void leave();

 private:
  enum class State { kNew, kGreeted, kAuthorised, kJoined };

  asio::awaitable<Result<void>> talk();
  asio::awaitable<Result<transport::Message>> next_message();  // patient with those who are authorised only

  // An error ends the connection, after it was sent.
  asio::awaitable<Result<void>> handle(transport::Message message);
  asio::awaitable<Result<void>> handle_before_authorisation(transport::Message message);
  Result<void> ping(const transport::Message& message);
  Result<void> hello(const transport::Message& message);
  asio::awaitable<Result<void>> pair(transport::Message message);
  Result<void> join_job(const transport::Message& message);
  asio::awaitable<void> open_stage(transport::Message message);
  asio::awaitable<void> begin_job(transport::Message message);
  asio::awaitable<Result<void>> try_open_stage(const transport::Message& message);
  asio::awaitable<Result<void>> try_begin_job(const transport::Message& message);
  Result<void> step(transport::Message message);
  void end_job(const transport::Message& message, bool wants_reply);

  // Runs a request that takes long beside the reading.
  void spawn(asio::awaitable<void> request);
  void authorise();

  template <class T>
  void reply(const transport::Message& request, T content, std::vector<transport::Blob> blobs = {});
  void reply_error(const transport::Message& request, const Error& error);

  Hub& hub_;
  transport::ConnectionPtr connection_;
  std::string fingerprint_;  // hexadecimal; empty without a certificate
  State state_ = State::kNew;
  transport::Hello client_;
  std::map<std::uint32_t, std::shared_ptr<LoadedStage>> stages_;  // by handle
  std::uint32_t next_handle_ = 1;
  std::set<JobKey> joined_;
  int running_requests_ = 0;
};

}  // namespace pinion::worker
