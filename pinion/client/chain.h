#pragma once
// The connections of one job, one per stage, and the messages that go over them (docs/protocol.md, section
// 8). Network thread only; an error leaves the chain of no more use, and a new one is made.

#include <map>

#include "pinion/client/remote_job.h"
#include "pinion/transport/caller.h"
#include "pinion/transport/identity.h"
#include "pinion/transport/peer_store.h"
#include "pinion/transport/step_messages.h"

namespace pinion::client {

namespace asio = boost::asio;

// The constants as they are sent.
struct EncodedConstants {
  RemoteConstants values;  // its tensors are not used
  std::optional<transport::Blob> context;
  std::optional<transport::Blob> reference_latents;
  std::vector<std::string> velocity_bases;  // that are kept here
  bool latent_maps = false;                 // whether frames may be about what a map makes of the latents
};

struct ChainSetup {
  const RemotePlan& plan;
  const ConnectOptions& options;
  const transport::Identity& identity;
  const transport::PeerStore& peers;
  std::string job;  // 32 hexadecimal digits
  int attempt = 0;
};

// A result, and when it had arrived, in microseconds of the steady clock.
struct ArrivedResult {
  transport::Message message;
  std::uint64_t received_us = 0;
};

class Chain : public std::enable_shared_from_this<Chain> {
 public:
  explicit Chain(const ChainSetup& setup) : setup_(setup) {}

  // Connects to all workers at the same time and opens their stages.
  asio::awaitable<Result<void>> open();

  // Yields the hashes of the bases that the first stage holds for what it will be sent.
  asio::awaitable<Result<std::vector<std::string>>> begin(const EncodedConstants& constants);

  // Sends the step and waits for the last stage's result.
  asio::awaitable<Result<ArrivedResult>> step(const transport::Message& message, int step);

  // Frees the job on all workers and closes the connections.
  asio::awaitable<Result<void>> end();

  // Ends what waits with `why`, tells the workers to drop the job, and closes.
  void abandon(const Error& why);

  const std::vector<RemoteJob::StageReport>& reports() const { return reports_; }

  // How fast bytes get to the first worker, or here from the last, which must be able to send such: by pings
  // that carry bytes along (docs/protocol.md, section 4.9). Once the chain is open.
  enum class Direction { kToFirst, kFromLast };
  asio::awaitable<Result<codec::LinkSpeed>> measure_link(Direction direction);

  // Whether every worker has this capability; once the chain is open.
  bool all_can(std::string_view capability) const;

  // What a worker's clock shows, on this process's clock.
  std::int64_t local_us(std::size_t stage, std::uint64_t worker_us) const {
    return static_cast<std::int64_t>(worker_us) - links_[stage].clock_offset_us;
  }

 private:
  struct Link {
    transport::Address address;
    std::shared_ptr<transport::Caller> caller;
    std::string fingerprint;  // hexadecimal; empty on plain loopback
    std::vector<std::string> capabilities;
    std::uint32_t handle = 0;
    std::int64_t clock_offset_us = 0;  // the worker's clock minus ours
    std::int64_t round_trip_us = 0;    // of a ping
  };

  asio::awaitable<Result<void>> open_link(std::size_t stage);
  asio::awaitable<Result<void>> compare_clocks(Link& link);
  // `with_assets`: calibrations in full, not by their names alone.
  transport::Message begin_message(std::size_t stage, const EncodedConstants& constants,
                                   bool with_assets) const;
  void receive(std::size_t stage, Result<transport::Message> message);
  void take_result(const transport::Message& message);
  void fail(const Error& why);
  Error at(std::size_t stage, Error error) const;

  ChainSetup setup_;
  std::vector<Link> links_;
  std::vector<RemoteJob::StageReport> reports_;
  std::optional<Error> broken_;

  // The step that is under way.
  int awaited_step_ = -1;
  std::optional<ArrivedResult> arrived_;
  std::shared_ptr<asio::steady_timer> arrival_;  // cancelled when it arrived or the chain broke
};

std::uint64_t clock_us();

}  // namespace pinion::client
