#pragma once
// One job at one stage: takes steps in order, computes them, and sends what comes out to the next stage or to
// the client (docs/protocol.md, sections 4.4 to 4.8). Lives on the I/O thread; computes and codes elsewhere.
// Owned by the session that began it; a step under way keeps it alive until it is done.

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <deque>
#include <set>

#include "pinion/transport/caller.h"
#include "pinion/transport/identity.h"
#include "pinion/worker/stage_cache.h"
#include "pinion/worker/stage_codec.h"

namespace pinion::worker {

// What all jobs of a worker share.
struct JobServices {
  const Backend& backend;
  const transport::Identity& identity;
  ComputeQueue& compute;
  asio::thread_pool& codec_threads;
  const codec::BasisStore& bases;
  std::chrono::milliseconds idle_limit{600'000};
};

struct JobSetup {
  transport::BeginJob begin;
  std::shared_ptr<LoadedStage> stage;
  transport::ConnectionPtr client;
  std::string owner;  // hexadecimal fingerprint of the client; empty on plain loopback
};

class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(const JobServices& services, JobSetup setup);

  // Reads the constants, begins the job on the device, and joins the next worker. Then the job takes steps.
  asio::awaitable<Result<void>> open(const transport::Message& message);

  // Queues a step. kBusy: too many wait; kProtocol. A repeated or outdated step is ignored.
  Result<void> take(transport::Step step, transport::Message message);

  // Tells the client what went wrong; `step` may be null.
  void report(const Error& error, const transport::Step* step);

  // Stops: queued steps are dropped, what is being computed is thrown away, the link onward is closed.
  void end();

  // Called once, when the job ends.
  void on_end(std::function<void()> callback) { on_end_ = std::move(callback); }

  bool has_ended() const { return has_ended_; }

  // Bases that this stage holds for what it receives; once open() is done.
  const std::vector<std::string>& known_bases() const { return known_bases_; }
  const transport::BeginJob& begin() const { return setup_.begin; }
  const std::string& owner() const { return setup_.owner; }
  const transport::ConnectionPtr& client() const { return setup_.client; }

 private:
  struct Waiting {
    transport::Step step;
    transport::Message message;
    std::uint64_t received_us;
  };
  // A step on its way through the device.
  struct Work {
    models::StepInput input;
    models::StepOutput output;
    transport::Message onward;
    transport::TraceHop arrival;    // receiver's part of the hop to here
    transport::TraceHop departure;  // sender's part of the hop from here
  };

  Result<models::JobConstants> constants(const transport::Message& message) const;
  Result<Tensor> constant(std::optional<std::uint32_t> blob, const transport::Message& message) const;
  Result<std::optional<codec::Profile>> velocity_profile(const codec::Profile& states) const;
  StageCodecSetup codec_setup(const codec::Profile& profile) const;
  Result<codec::CalibrationSet> calibrations(const transport::Message& message) const;
  asio::awaitable<Result<void>> join_next();
  asio::awaitable<void> run();
  asio::awaitable<Result<void>> advance(const Waiting& waiting);
  Result<void> compute(Work& work, models::StageJob& stage_job) const;
  Result<void> pass_on(const Waiting& waiting, Work& work);
  void free_stage_job();

  const JobServices& services_;
  JobSetup setup_;
  std::string line_;  // its name in the compute queue
  std::unique_ptr<StageCodec> codec_;
  std::vector<std::string> known_bases_;
  std::shared_ptr<models::StageJob> stage_job_;  // used and freed on the device's thread
  std::shared_ptr<transport::Caller> next_;      // null in the last stage
  std::deque<Waiting> waiting_;
  asio::steady_timer something_to_do_;  // cancelled when there is; fires when the job has been idle too long
  std::set<int> seen_;                  // steps received
  std::function<void()> on_end_;
  std::atomic<bool> has_ended_ = false;  // set on the I/O thread, read on the device's too
};

// Microseconds of the steady clock, as traces carry them.
std::uint64_t clock_us();

}  // namespace pinion::worker
